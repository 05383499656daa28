"""The settings that a turn uses from start to end: providers, personas and limits."""

from __future__ import annotations

from dataclasses import dataclass, field

from engine.accounting.accounts import Accounts
from engine.answering.token_rates import RatesByModel
from engine.config.personas import Personas
from engine.config.settings import ConversationSettings, ServiceSettings
from providers.chain.chain import ProviderChain


@dataclass(frozen=True, slots=True)
class TurnSettings:
    """The settings of one turn.

    A turn reads them once, at its start, and `hold`s the chain until it ends. A reload replaces
    them as a whole, for later turns.
    """

    chain: ProviderChain
    personas: Personas
    service: ServiceSettings
    conversation: ConversationSettings
    accounts: Accounts
    rates: RatesByModel = field(default_factory=RatesByModel)
