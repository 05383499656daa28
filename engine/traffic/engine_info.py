"""What an engine says of itself by `$SRV.INFO`, and what another one that starts makes of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, Self

import orjson

State = Literal["starting", "running", "draining"]
Decision = Literal["alone", "wait", "later", "second"]
SHOWN_LIMIT = 64


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """An engine. Any client may send one, so each text is short and has no control characters.

    state: "running" if it does not say. started: a time in UTC; "" if it does not say.
    subjects: its inputs. database: its mark; "" if it does not say. second: whether it was started
    to be one of two.
    """

    subjects: frozenset[str]
    id: str = ""
    name: str = ""
    version: str = ""
    state: State = "running"
    started: str = ""
    host: str = ""
    process: str = ""
    database: str = ""
    second: bool = False

    @classmethod
    def read(cls, data: bytes) -> Self | None:
        """Return the engine of an answer to `$SRV.INFO`; None if it is not one."""
        try:
            found = orjson.loads(data)
        except orjson.JSONDecodeError:
            return None
        if not isinstance(found, dict) or not isinstance(found.get("endpoints"), list):
            return None
        told = found.get("metadata")
        metadata = told if isinstance(told, dict) else {}
        subjects = [each.get("subject") for each in found["endpoints"] if isinstance(each, dict)]
        return cls(
            frozenset(each for each in subjects if isinstance(each, str)),
            _shown(found.get("id")),
            _shown(metadata.get("name")),
            _shown(found.get("version")),
            _state(metadata.get("state")),
            _shown(metadata.get("started")),
            _shown(metadata.get("host")),
            _shown(metadata.get("process")),
            _shown(metadata.get("database")),
            metadata.get("second") == "true",
        )

    def hears(self, inputs: Iterable[str]) -> bool:
        return not self.subjects.isdisjoint(inputs)

    def is_before(self, other: EngineInfo) -> bool:
        """Decide which of two that start goes first; both come to the same result."""
        return (self.started, self.id) < (other.started, other.id)

    def __str__(self) -> str:
        process = f"process {self.process}" if self.process else ""
        host = f"on {self.host}" if self.host else ""
        place = " ".join(filter(None, (process, host)))
        version = f"version {self.version}" if self.version else ""
        since = f"since {self.started}" if self.started else ""
        details = ", ".join(filter(None, (place, version, since)))
        name = self.name or "an engine that does not say its name"
        return f"{name} ({details})" if details else name


def decide(own: EngineInfo, others: Sequence[EngineInfo]) -> Decision:
    """Decide whether an engine that starts may go on, given the others that it sees.

    Every engine answers before it asks, so of two that start together at least one sees the other.
    The earlier one does not go on before the later one, which may not have seen it, has gone.
    """
    others = [each for each in others if each.id != own.id and each.hears(own.subjects)]
    if any(each.state == "running" for each in others):
        return "second"
    if any(each.state == "starting" and each.is_before(own) for each in others):
        return "later"
    return "wait" if others else "alone"


def _state(told: object) -> State:
    match told:
        case "starting" | "draining":
            return told
    return "running"


def _shown(value: object) -> str:
    text = value[:SHOWN_LIMIT] if isinstance(value, str) else ""
    return "".join(c if c.isprintable() else "?" for c in text)
