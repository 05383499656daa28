"""What a channel's history means, computed from its rows independently of the engine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.chaos.llm import MODEL, Prompt, question

MAX_CONTEXT_MESSAGES = 8
PAIRS_KEPT = MAX_CONTEXT_MESSAGES // 2
PAIRS_SHOWN = (MAX_CONTEXT_MESSAGES - 1) // 2

Pair = tuple[str, str, str]


@dataclass
class ReplayedHistory:
    """A channel's state after its history, with what each of its turns must have looked like.

    prompts: the prompt of each request id. personas: the persona that answered it.
    """

    persona: str = "default"
    chosen: str | None = None
    model: str | None = None
    pairs: list[Pair] = field(default_factory=list)
    prompts: dict[str, Prompt] = field(default_factory=dict)
    personas: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, rows: Iterable[Mapping[str, Any]]) -> ReplayedHistory:
        """Replay the rows of one channel, oldest first."""
        replayed = cls()
        message: Mapping[str, Any] | None = None
        for row in rows:
            replayed._row(row, message)
            message = row if row["kind"] == "message" else None
        return replayed

    @property
    def window(self) -> list[Pair]:
        return self.pairs[-PAIRS_KEPT:]

    def _row(self, row: Mapping[str, Any], message: Mapping[str, Any] | None) -> None:
        request_id = row["request_id"]
        if row["kind"] == "prompt":
            self.prompts[request_id] = (f"model {MODEL}", f"user {question(request_id)}")
        elif request_id not in self.prompts:
            self.prompts[request_id] = self._prompt(row["username"], question(request_id))
            self.personas[request_id] = self.persona
        match row["kind"]:
            case "answer" if message is not None:
                self.pairs.append((message["username"], message["content"], row["content"]))
            case "reset":
                self.pairs.clear()
            case "persona":
                self.persona = self.chosen = row["persona"]
            case "model":
                self.model = row["model"]

    def _prompt(self, username: str, text: str) -> Prompt:
        shown = self.pairs[-PAIRS_SHOWN:]
        named = len({username, *(pair[0] for pair in shown)}) > 1
        lines = [f"model {self.model or MODEL}", f"system {self.persona}"]
        for name, message, answer in shown:
            lines += [f"user {_line(name, message, named)}", f"assistant {answer}"]
        return (*lines, f"user {_line(username, text, named)}")


def _line(username: str, text: str, named: bool) -> str:
    return f"{username}: {text}" if named else text
