"""What all actors share: the store, the way out, and the terms on which turns run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from engine.commands.outcomes import OutcomeSink
from engine.config.personas import Personas
from engine.config.settings import ConversationSettings, ServiceSettings
from engine.telemetry.counts import Counts
from providers.chain import ProviderChain
from storage.database import Database

if TYPE_CHECKING:
    from engine.telemetry.spans import Spans


@dataclass(frozen=True, slots=True)
class Terms:
    """What holds for a turn from its start to its end: who is asked, as whom, within what limits.

    A turn takes it once and `hold`s its chain until it has ended.
    """

    chain: ProviderChain
    personas: Personas
    service: ServiceSettings
    conversation: ConversationSettings


@dataclass(slots=True)
class Surroundings:
    """`terms` are those of the turns to come; a reload replaces them as a whole.

    `spans` makes the turns' spans, where tracing is on.
    """

    database: Database
    sink: OutcomeSink
    terms: Terms
    spans: Spans | None = None
    counts: Counts = field(default_factory=Counts)
