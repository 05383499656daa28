"""What all actors share: the store, the way out, the observer, and the settings of turns."""

from __future__ import annotations

from dataclasses import dataclass

from engine.answering.turn_settings import TurnSettings
from engine.commands.observer import TurnObserver
from engine.commands.outcomes import OutcomeSink
from storage.writer.database import Database


@dataclass(slots=True)
class ActorContext:
    """The surroundings of every actor of one engine.

    turn_settings: those of the turns to come; a reload replaces them as a whole.
    """

    database: Database
    sink: OutcomeSink
    observer: TurnObserver
    turn_settings: TurnSettings
