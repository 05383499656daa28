"""What a channel's history means, told anew from its rows: the model that the engine must match."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.chaos.llm import Prompt, asked

MAX_CONTEXT_MESSAGES = 8
PAIRS_KEPT = MAX_CONTEXT_MESSAGES // 2
PAIRS_SHOWN = (MAX_CONTEXT_MESSAGES - 1) // 2

Pair = tuple[str, str, str]


@dataclass
class Retelling:
    """`prompts` are what each request must have been asked with, and `personas` who answered."""

    persona: str = "default"
    chosen: str | None = None
    pairs: list[Pair] = field(default_factory=list)
    prompts: dict[str, Prompt] = field(default_factory=dict)
    personas: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, rows: Iterable[Mapping[str, Any]]) -> Retelling:
        """The rows of one channel, oldest first."""
        told = cls()
        message: Mapping[str, Any] | None = None
        for row in rows:
            told._row(row, message)
            message = row if row["kind"] == "message" else None
        return told

    @property
    def window(self) -> list[Pair]:
        return self.pairs[-PAIRS_KEPT:]

    def _row(self, row: Mapping[str, Any], message: Mapping[str, Any] | None) -> None:
        request_id = row["request_id"]
        if row["kind"] == "prompt":
            self.prompts[request_id] = (f"user {asked(request_id)}",)
        elif request_id not in self.prompts:
            self.prompts[request_id] = self._prompt(row["username"], asked(request_id))
            self.personas[request_id] = self.persona
        match row["kind"]:
            case "answer" if message is not None:
                self.pairs.append((message["username"], message["content"], row["content"]))
            case "reset":
                self.pairs.clear()
            case "persona":
                self.persona = self.chosen = row["persona"]

    def _prompt(self, username: str, text: str) -> Prompt:
        shown = self.pairs[-PAIRS_SHOWN:]
        named = len({username, *(pair[0] for pair in shown)}) > 1
        lines = [f"system {self.persona}"]
        for name, said, answer in shown:
            lines += [f"user {_said(name, said, named)}", f"assistant {answer}"]
        return (*lines, f"user {_said(username, text, named)}")


def _said(username: str, text: str, named: bool) -> str:
    return f"{username}: {text}" if named else text
