"""What a room is told of a message or an answer that `[safety]` does not let pass: `refused`."""

from __future__ import annotations

from engine.texts.sentence import Sentence

MESSAGE_REFUSED = Sentence(
    "message_refused",
    "This message breaks the rules of this room, so it is not answered.",
    "`[safety]` refuses a message",
)
ANSWER_REFUSED = Sentence(
    "answer_refused",
    "The answer broke the rules of this room, so it is not shown.",
    "`[safety]` refuses an answer",
)
MESSAGE_UNCHECKED = Sentence(
    "message_unchecked",
    "This message could not be checked, so it is not answered. Try again later.",
    "a message could not be checked",
)
ANSWER_UNCHECKED = Sentence(
    "answer_unchecked",
    "The answer could not be checked, so it is not shown. Try again later.",
    "an answer could not be checked",
)
