"""What all actors share: the store, the way out, and the terms on which turns run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from engine.answering.turn_settings import TurnSettings
from engine.commands.outcomes import OutcomeSink
from engine.telemetry.counts import Counts
from storage.database import Database

if TYPE_CHECKING:
    from engine.telemetry.spans import Spans


@dataclass(slots=True)
class ActorContext:
    """`terms` are those of the turns to come; a reload replaces them as a whole.

    `spans` makes the turns' spans, where tracing is on.
    """

    database: Database
    sink: OutcomeSink
    turn_settings: TurnSettings
    spans: Spans | None = None
    counts: Counts = field(default_factory=Counts)
