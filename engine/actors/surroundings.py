"""What all actors share: the store, the providers, the personas, the way out, the settings."""

from __future__ import annotations

import time
from dataclasses import dataclass

from engine.actors.personas import Personas
from engine.outlet import Outlet
from engine.settings import ConversationSettings, ServiceSettings
from providers.chain import ProviderChain
from storage.database import Database


@dataclass(frozen=True, slots=True)
class Surroundings:
    database: Database
    chain: ProviderChain
    personas: Personas
    outlet: Outlet
    service: ServiceSettings
    conversation: ConversationSettings


def now_ms() -> int:
    """Wall-clock time in milliseconds since 1970, as all tables have it."""
    return time.time_ns() // 1_000_000
