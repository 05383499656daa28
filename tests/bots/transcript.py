"""What was asked and said in the channels of a soak, and whether it is what it should be."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

WORDS = (2, 40, 210)  # the longest answer has more than 1,249 characters
_ASKED = re.compile(r"!chat (q\d+-\d+) please")
_BEGINS = re.compile(r"p\d+: ")


def answer_to(question: str) -> str:
    """Return the answer to a question such as "q3-14", of another length for each."""
    count = WORDS[int(question.partition("-")[2]) % len(WORDS)]
    words = (f"w{number:04}" for number in range(count))
    return " ".join([question, *words, f"end-of-{question}"])


class Transcript:
    """What a witness saw: (who, channel, text) of each line. `notes`: more for the report.

    - `asked`, `answered`: the questions and the answers of each channel, in order
    - `faults`: what should not be
    """

    def __init__(self, heard: Sequence[tuple[str, str, str]], bot: str = "rosey") -> None:
        self.notes: list[str] = []
        self.lines = sum(who == bot for who, _, _ in heard)
        self.asked: dict[str, list[str]] = defaultdict(list)
        said: dict[str, list[str]] = defaultdict(list)
        for who, channel, text in heard:
            if who != bot:
                self.asked[channel] += _ASKED.findall(text)
            elif _BEGINS.match(text):
                said[channel].append(text)
            else:
                said[channel][-1:] = [f"{said[channel][-1]} {text}" if said[channel] else text]
        self.answered = {
            channel: [_question(text) for text in said[channel]] for channel in self.asked
        }
        self.cut = [
            text
            for texts in said.values()
            for text in texts
            if text.split()[1:] != answer_to(_question(text)).split()
        ]
        self.longest = max((len(text) for texts in said.values() for text in texts), default=0)

    @property
    def is_good(self) -> bool:
        return not list(self.faults())

    def faults(self) -> Iterator[str]:
        for channel, asked in self.asked.items():
            answered = self.answered[channel]
            lost, twice = Counter(asked) - Counter(answered), Counter(answered) - Counter(asked)
            if lost:
                yield f"{channel}: not answered: {sorted(lost)}"
            if twice:
                yield f"{channel}: answered twice, or never asked: {sorted(twice)}"
            if not lost and not twice and asked != answered:
                yield f"{channel}: not in order"
        for text in self.cut:
            yield f"cut, or no answer: {text[:80]} ... {text[-40:]}"

    def report(self) -> Iterator[str]:
        questions = sum(map(len, self.asked.values()))
        answers = sum(map(len, self.answered.values()))
        yield f"channels {len(self.asked)}, questions {questions}, answers {answers}"
        yield f"lines {self.lines}, longest answer {self.longest} characters"
        yield from self.notes
        yield from self.faults()
        yield "every question answered once, in order, whole" if self.is_good else "NOT GOOD"


def _question(text: str) -> str:
    """Return the question that an answer names; "q0-0" if it names none, such as an error."""
    found = re.match(r"p\d+: (q\d+-\d+)\b", text)
    return found[1] if found else "q0-0"
