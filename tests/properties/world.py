"""Several runs of an engine on one file, and what must hold at the end of each."""

from __future__ import annotations

import logging
import tempfile
from contextlib import ExitStack
from pathlib import Path

from engine.actors.conversation import Exchange
from engine.commands.records import Chat, Command
from engine.commands.request import Request
from engine.errors import Busy, Suspended
from tests.properties.clock import Clock
from tests.properties.life import EngineRun
from tests.properties.model import PROGRAM, WINDOW, ReferenceModel
from tests.properties.witness import DatabaseReader, State

CHANNELS = ("a", "b")
USERS = ("ann", "bob", PROGRAM)
PATIENCE_S = 900.0
IN_MEMORY = (
    "/dev/shm" if Path("/dev/shm").is_dir() else None
)  # takes half the time, if there is one


class World:
    """The engine's current run, the reference model, and all that outlives a run."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        folder = self._stack.enter_context(tempfile.TemporaryDirectory(dir=IN_MEMORY))
        self.clock = Clock()
        self._stack.enter_context(self.clock.patch_time())
        # Crashes are expected; their traces would fill the memory.
        logging.disable(logging.CRITICAL)
        self._stack.callback(logging.disable, logging.NOTSET)
        self._path = Path(folder) / "world.db"
        self.database_reader = DatabaseReader(self._path)
        self._stack.callback(self.database_reader.close)
        self.model = ReferenceModel()
        self.requests: list[Request] = []
        self.engine_run = self._new_run()
        self.engine_run.run_until_idle()

    def close(self) -> None:
        self.engine_run.kill()
        self._stack.close()

    # Steps.

    def new(
        self, channel: str, command: Command, request_id: str = "", user: str = USERS[0]
    ) -> Request:
        """Return a new request; its text ends with channel and id, to identify its call."""
        request_id = request_id or f"r{len(self.requests)}"
        if text := getattr(command, "text", ""):
            command = type(command)(  # type: ignore[call-arg]
                text=f"{text} {channel} {request_id}", stream=getattr(command, "stream", False)
            )
        request = Request(channel, request_id, user, command, by_program=user == PROGRAM)
        self.requests.append(request)
        return request

    def tell(self, *requests: Request) -> None:
        """Tell requests, all in one round of the loop."""

        def act() -> None:
            for request in requests:
                try:
                    self.engine_run.engine.supervisor.tell(request)
                except (Busy, Suspended) as exc:
                    self.model.note_refusal(request, exc, full_disk=self.engine_run.had_full_disk)
                else:
                    self.model.tell(request)

        self.engine_run.call(act)

    def run_rounds(self, rounds: int, *, committing: int = 100) -> None:
        """Run some rounds of the loop, with commits in between."""
        for _ in range(rounds):
            self.engine_run.commit(committing)
            self.engine_run.run_round()

    def kill(self, *rounds: int) -> None:
        """Kill and start again; with `rounds`, kill once more after each such number of rounds."""
        for count in (*rounds, None):
            self.engine_run.kill()
            self.model.end_run(CHANNELS)
            self.engine_run = self._new_run()
            if count is None:
                self.engine_run.run_until_idle()
            else:
                self.run_rounds(count)

    def drain(self) -> None:
        self.engine_run.drain()
        # After a full disk, a waiting sender may not have been told that nothing was stored.
        self.model.end_run(CHANNELS, drained=True)
        self.engine_run = self._new_run()
        self.engine_run.run_until_idle()

    def break_channel(self, channel: str) -> None:
        self.model.break_channel(channel)
        self.database_reader.break_channel(channel)

    def mend_channel(self, channel: str) -> None:
        self.model.mend_channel(channel)
        self.database_reader.mend_channel(channel)

    def _new_run(self) -> EngineRun:
        return EngineRun(self._path, self.clock, self.model, self.database_reader)

    # The end.

    def finish(self) -> None:
        """Let everything end, restart once more, and check that all continues as before."""
        self.model.check()  # a run that a violation has ended cannot continue
        self.finish_work()
        self.kill()
        for channel in CHANNELS:
            self.tell(self.new(channel, Chat("at last")))
        self.finish_work()

    def finish_work(self) -> None:
        """End all faults, let all calls succeed, and wait until nothing is left to do."""
        for channel in CHANNELS:
            self.mend_channel(channel)
        self.engine_run.scripted_model.release_all()
        self.engine_run.run_until_idle(PATIENCE_S, self._is_quiet)
        self.engine_run.run_until_idle()
        self._check_nothing_is_left()
        for channel in CHANNELS:
            self._check_conversation(channel)
        self.model.check()

    def _is_quiet(self) -> bool:
        supervisor = self.engine_run.engine.supervisor
        return not self.model.owed and not supervisor.statistics().commands

    def _check_nothing_is_left(self) -> None:
        left = {
            "requests without an outcome": self.model.owed,
            "accepted commands without an outcome": self.model.accepted.keys()
            - self.model.published.keys(),
            "commands in the durable mailbox": self.database_reader.read().waiting,
            # If a full disk prevented marking them as published, they are published again.
            "outcomes not published": not self.engine_run.had_full_disk
            and self.database_reader.unpublished(),
            "providers not closed": self.engine_run.unclosed_providers,
            "commands counted": self.engine_run.engine.supervisor.statistics().commands,
            "bytes counted": self.engine_run.engine.supervisor._commands_bytes,
            "wrong snapshots": self.database_reader.wrong_snapshots(WINDOW),
            "accounts that differ": self._wrong_accounts(),
        }
        for what, there in left.items():
            if there:
                self.model.violate("something is left", what, there)

    def _wrong_accounts(self) -> list[str]:
        """Return the accounts that hold something, or are not what the disk has."""
        days = range(1_000_000)
        return [
            f"{account.scope}: {account.holders} {account.reserved} {account.used('tokens', days)}"
            for account in self.engine_run.engine.budgets._accounts.values()
            if account.holders
            or any(account.reserved.values())
            or (
                not account.is_stale
                and account.used("tokens", days) != self.database_reader.tokens_used(account.scope)
            )
        ]

    def _check_conversation(self, channel: str) -> None:
        state = self.model.state(channel)
        expected = (state.persona, state.model, state.exchanges)
        found = {
            "history": self.database_reader.state_on_waking(channel, WINDOW, trust_snapshot=False),
            "snapshot": self.database_reader.state_on_waking(channel, WINDOW, trust_snapshot=True),
            "memory": self._state_in_memory(channel) or expected,
        }
        for where, there in found.items():
            if there != expected:
                self.model.violate("a conversation is wrong", (channel, where), there, expected)

    def _state_in_memory(self, channel: str) -> State | None:
        """Return the state in the memory of the channel's actor, if it has one loaded."""
        actor = self.engine_run.engine.supervisor.residents.get(channel)
        conversation = actor._cache._conversation if actor else None
        if conversation is None:
            return None
        exchanges: list[Exchange] = list(conversation.exchanges)
        return conversation.persona, conversation.model, exchanges
