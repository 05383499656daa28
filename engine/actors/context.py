"""The parts that all actors share: database, ledger, sink, observer, and the settings of turns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from engine.accounting.budgets import Account, Budgets
from engine.actors.held_turns import HeldTurns
from engine.actors.wait_estimate import WaitEstimate
from engine.answering.shortened_windows import ShortenedWindows
from engine.answering.turn_account import TurnAccount
from engine.answering.turn_settings import SettingsByChannel, TurnSettings
from engine.commands.ledger import Ledger
from engine.commands.observer import TurnObserver
from engine.commands.outcomes import OutcomeSink
from engine.commands.request import Request
from engine.texts.texts import Texts
from providers.base import Options
from storage.writer.database import Database

NO_CHOICE = Options()


@dataclass(slots=True)
class ActorContext:
    """The parts that every actor of one engine uses.

    sink: where outcomes leave the engine.
    turn_settings: the settings of new turns by channel; a reload replaces them as a whole.
    texts: what is said in each room; a reload changes them.
    waits: what refused senders are told.
    held: the turns that wait until the database can be written.
    """

    database: Database
    ledger: Ledger
    sink: OutcomeSink
    observer: TurnObserver
    turn_settings: SettingsByChannel
    budgets: Budgets
    texts: Texts = field(default_factory=Texts)
    shortened_windows: ShortenedWindows = field(default_factory=ShortenedWindows)
    waits: WaitEstimate = field(default_factory=WaitEstimate)
    held: HeldTurns = field(init=False)

    def __post_init__(self) -> None:
        self.held = HeldTurns(self.database.path, self.waits)

    def account(
        self,
        request: Request,
        settings: TurnSettings | None = None,
        persona: str | None = None,
        lost: int = 0,
        held: Mapping[str, Account] | None = None,
    ) -> TurnAccount:
        """Return the account of a turn; the parameters are those of `TurnAccount`.

        settings: of the turn; None for those that the channel's next turn will have.
        """
        settings = settings or self.turn_settings.of(request.channel_id)
        primary = settings.chain.primary
        asked = primary.name, primary.settled(NO_CHOICE).model
        return TurnAccount(
            settings.accounts, self.budgets, settings.rates, request, asked, persona, lost, held
        )
