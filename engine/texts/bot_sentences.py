"""What our own bots say of the questions that wait with them, such as `rosey-llm bot irc`."""

from __future__ import annotations

from engine.texts.sentence import Sentence

YOURS_WAIT = Sentence(
    "yours_wait",
    "{number} of your questions wait already. Ask again later.",
    "the IRC bot has as many questions of this person as it keeps",
)
ROOM_WAITS = Sentence(
    "room_waits",
    "{number} questions wait here already. Ask again later.",
    "the IRC bot has as many questions of this room as it keeps",
)
MORE_DROPPED = Sentence(
    "more_dropped",
    "{number} more questions dropped.",
    "behind the answer to a `!chat stop`, if questions waited in the IRC bot, too",
    one=Sentence(
        "more_dropped_one", "1 more question dropped.", "the same, if it was one", may=("number",)
    ),
)
