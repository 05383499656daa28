"""The subjects of the engine, by their names in `[nats.subjects]`."""

from __future__ import annotations

from typing import NamedTuple

# A request with this header only asks whether an engine listens.
PROBE_HEADER = "Rosey-Probe"


class Subjects(NamedTuple):
    """The subjects of the engine. Give those that `[nats.subjects]` renames."""

    chat: str = "rosey.command.chat"
    request: str = "llm.request"
    response: str = "llm.response"
    error: str = "llm.error"
    stream: str = "llm.stream"

    @property
    def shared(self) -> tuple[str, str, str]:
        """Those on which the engine answers."""
        return self.response, self.error, self.stream

    @property
    def wildcard(self) -> str | None:
        """One subject for all three, such as `llm.*`; None if they do not differ in one word."""
        stems = {subject.rpartition(".")[0] for subject in self.shared}
        stem = stems.pop()
        return f"{stem}.*" if stem and not stems else None
