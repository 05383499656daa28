"""What `inspect()` of `LLMService` and of the service returns."""

from __future__ import annotations

from dataclasses import dataclass

from engine.engine import Engine


@dataclass(frozen=True, slots=True)
class Inspection:
    """The parts of a running engine at one moment, for tests and for debugging.

    The parts are in use: to read them is safe, to change them may break the engine. What this
    record and its parts contain may change in any version.

    engine: its `supervisor` has the channels in memory, its `chain` the providers, its `database`
        the store, its `turn_settings` what the next turn uses.
    """

    engine: Engine
