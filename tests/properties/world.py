"""An engine's lives on one file, one after the other, and what must hold at the end of each."""

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
from tests.properties.life import Life
from tests.properties.model import WINDOW, Model
from tests.properties.witness import State, Witness

CHANNELS = ("a", "b")
PATIENCE_S = 900.0
IN_MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None  # half the time where there is one


class World:
    def __init__(self) -> None:
        self._stack = ExitStack()
        folder = self._stack.enter_context(tempfile.TemporaryDirectory(dir=IN_MEMORY))
        self.clock = Clock()
        self._stack.enter_context(self.clock.instead_of_time())
        # Crashes are part of the play; their traces would fill the memory.
        logging.disable(logging.CRITICAL)
        self._stack.callback(logging.disable, logging.NOTSET)
        self._path = Path(folder) / "world.db"
        self.witness = Witness(self._path)
        self._stack.callback(self.witness.close)
        self.model = Model()
        self.requests: list[Request] = []
        self.life = self._born()
        self._awake()

    def close(self) -> None:
        self.life.kill()
        self._stack.close()

    # Steps.

    def new(self, channel: str, command: Command, request_id: str = "") -> Request:
        """A request; its text ends with its channel and id, by which a provider's call is known."""
        request_id = request_id or f"r{len(self.requests)}"
        if text := getattr(command, "text", ""):
            command = type(command)(  # type: ignore[call-arg]
                text=f"{text} {channel} {request_id}", stream=getattr(command, "stream", False)
            )
        request = Request(channel, request_id, "ann", command)
        self.requests.append(request)
        return request

    def tell(self, *requests: Request) -> None:
        """Several are told in one breath."""

        def act() -> None:
            for request in requests:
                try:
                    self.life.engine.supervisor.tell(request)
                except (Busy, Suspended) as exc:
                    self.model.not_taken(request, exc)
                else:
                    self.model.tell(request)

        self.life.call(act)

    def go(self, rounds: int, *, committing: int = 100) -> None:
        """Some rounds of the loop, with the disk at work in between."""
        for _ in range(rounds):
            self.life.commit(committing)
            self.life.turn()

    def kill(self, *rounds: int) -> None:
        """Kill and start again; and where `rounds` are given, kill once more after so many."""
        for count in (*rounds, None):
            self.life.kill()
            self.model.died(CHANNELS)
            self.life = self._born()
            if count is None:
                self._awake()
            else:
                self.go(count)

    def drain(self) -> None:
        self.life.drain()
        # Where a disk was full, whoever still waited may not have heard that nothing was kept.
        self.model.died(CHANNELS, drained=True)
        self.life = self._born()
        self._awake()

    def break_channel(self, channel: str) -> None:
        self.model.broken(channel)
        self.witness.break_channel(channel)

    def mend_channel(self, channel: str) -> None:
        self.model.mended(channel)
        self.witness.mend_channel(channel)

    def _born(self) -> Life:
        return Life(self._path, self.clock, self.model, self.witness)

    def _awake(self) -> None:
        self.life.rest()

    # The end.

    def end(self) -> None:
        """Everything comes to its end; and after one more restart all goes on as it was."""
        self.model.check()  # a life that a violation has ended cannot go on
        self.settle_down()
        self.kill()
        for channel in CHANNELS:
            self.tell(self.new(channel, Chat("at last")))
        self.settle_down()

    def settle_down(self) -> None:
        """Let all faults end and all calls succeed, and wait until nothing is left to do."""
        for channel in CHANNELS:
            self.mend_channel(channel)
        self.life.asked.let_all()
        self.life.rest(PATIENCE_S, self._quiet)
        self.life.rest()
        self._check_nothing_is_left()
        for channel in CHANNELS:
            self._check_conversation(channel)
        self.model.check()

    def _quiet(self) -> bool:
        supervisor = self.life.engine.supervisor
        return not self.model.owed and not supervisor.statistics().commands

    def _check_nothing_is_left(self) -> None:
        left = {
            "requests without an outcome": self.model.owed,
            "accepted commands without an outcome": self.model.accepted.keys()
            - self.model.published.keys(),
            "commands in the durable mailbox": self.witness.look().waiting,
            # Where the note that they were published met a full disk, they go out once more.
            "outcomes not published": not self.life.was_full and self.witness.unpublished(),
            "providers not closed": self.life.left_open,
            "commands counted": self.life.engine.supervisor.statistics().commands,
            "bytes counted": self.life.engine.supervisor._commands_bytes,
            "wrong snapshots": self.witness.wrong_snapshots(WINDOW),
        }
        for what, there in left.items():
            if there:
                self.model.violate("something is left", what, there)

    def _check_conversation(self, channel: str) -> None:
        state = self.model.state(channel)
        expected = (state.persona, state.exchanges)
        found = {
            "history": self.witness.woken(channel, WINDOW, trust_snapshot=False),
            "snapshot": self.witness.woken(channel, WINDOW, trust_snapshot=True),
            "memory": self._remembered(channel) or expected,
        }
        for where, there in found.items():
            if there != expected:
                self.model.violate("a conversation is wrong", (channel, where), there, expected)

    def _remembered(self, channel: str) -> State | None:
        """What the channel's actor has in memory, if it is there and awake."""
        actor = self.life.engine.supervisor.residents.get(channel)
        conversation = actor._cache._conversation if actor else None
        exchanges: list[Exchange] = list(conversation.exchanges) if conversation else []
        return (conversation.persona, exchanges) if conversation else None
