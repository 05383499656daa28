"""What is said in the demo: three people in three rooms, and the model's answers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ScriptedExchange:
    """A question with its answer. `request_id` is the one that the question is sent with."""

    request_id: str
    room: str
    user: str
    question: str
    answer: str


FIRST = (
    ScriptedExchange(
        "lobby-1",
        "#lobby",
        "alice",
        "Hi! Who are you?",
        "I am Rosey. I talk in every room of this server, with a memory of its own for each.",
    ),
    ScriptedExchange(
        "dev-1",
        "#dev",
        "bob",
        "What does SIGKILL do?",
        "It ends a process at once. The process cannot catch it, and it can save nothing.",
    ),
    ScriptedExchange(
        "music-1", "#music", "carol", "A song for the rain?", "Riders on the Storm, by The Doors."
    ),
)
CUT = ScriptedExchange(
    "lobby-2",
    "#lobby",
    "alice",
    "And if you crash while you answer me?",
    "Your question is on disk before I begin. Kill my process in the middle of a sentence, and"
    " the next one finds your question, asks the model again, and answers you: once, and in order.",
)
SECOND = (
    CUT,
    ScriptedExchange(
        "dev-2",
        "#dev",
        "bob",
        "Then why is nothing lost?",
        "Order. First the question is stored, then the model is asked. First the answer is stored,"
        " then it is sent. So each step can be done again, and nobody hears an answer twice.",
    ),
    ScriptedExchange(
        "music-2",
        "#music",
        "carol",
        "And one for the sun?",
        "Here Comes the Sun, by The Beatles. George Harrison wrote it in a garden, on the first"
        " warm day after a long winter, on a guitar that was not his own.",
    ),
)
WAITING = ScriptedExchange(
    "lobby-3",
    "#lobby",
    "alice",
    "Do I have to ask again?",
    "No. This question waited on disk, too.",
)
ALL = (*FIRST, *SECOND, WAITING)
ROOMS = tuple(exchange.room for exchange in FIRST)
# The words of CUT's answer after which the next question comes, and after which the engine dies;
# no answer of SECOND has more words by then.
WORDS_TO_NEXT = 6
WORDS_TO_KILL = 16
