"""What holds for a turn from its start to its end: who is asked, as whom, within what limits."""

from __future__ import annotations

from dataclasses import dataclass

from engine.config.personas import Personas
from engine.config.settings import ConversationSettings, ServiceSettings
from providers.chain.chain import ProviderChain


@dataclass(frozen=True, slots=True)
class TurnSettings:
    """The settings of one turn.

    A turn reads them once, at its start, and `hold`s the chain until it has ended; a reload
    replaces them as a whole for the turns after it.
    """

    chain: ProviderChain
    personas: Personas
    service: ServiceSettings
    conversation: ConversationSettings
