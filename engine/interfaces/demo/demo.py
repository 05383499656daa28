"""The demo, scene by scene: a real engine is killed while it answers, and nothing is lost."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

from engine.client.address import CannotConnect
from engine.clock import now_ms
from engine.errors import LLMError
from engine.interfaces.demo import script
from engine.interfaces.demo.board import Board
from engine.interfaces.demo.command import RunningCommand
from engine.interfaces.demo.model import KILLED, LISTENING
from engine.interfaces.demo.people import People
from engine.interfaces.demo.proof import Crash, NotAsPromised
from engine.traffic.embedded import store_lock
from storage.queries.backlog import backlog
from storage.queries.reader import reading

CONFIG = """\
default_provider = "demo"
fallback_providers = []
[providers.demo]
kind = "engine.interfaces.demo.model:DemoModel"
default_model = "script"
delay = {delay}
chunk_delay = {chunk_delay}
[service]
drain_timeout_s = 0.1
[nats]
port = 0
[http]
enabled = false
[log]
level = "warning"
"""
# Seconds, at speed 1.
FIRST_WORD_S, WORD_S = 0.8, 0.15
TYPING_S, READING_S = 0.7, 2.5
NATS_LIMIT_S = 10.0


class Demo:
    """The engine, the people and the board, with the order of what happens.

    speed: how many times faster than people read. is_seen: whether people look at it on a terminal.
    """

    def __init__(self, folder: Path, board: Board, speed: float, *, is_seen: bool) -> None:
        self.database = folder / "data" / "rosey-llm.db"
        self._folder = folder
        self._listening = folder / LISTENING
        self._board = board
        self._people = People(board)
        self._speed = speed
        self._is_seen = is_seen
        self._engine: RunningCommand | None = None

    async def play(self) -> Crash:
        """Play all scenes; return when and how the engine was killed."""
        self._configure()
        try:
            engine = await self._start("Three rooms ask it at the same time.")
            await self._ask(script.FIRST)
            await self._people.until(self._all_answered)
            await self._pause(READING_S / 2)
            await self._ask(script.SECOND)
            await self._people.until(lambda: self._words >= script.WORDS_TO_NEXT)
            self._people.ask(script.WAITING)
            crash = await self._kill(engine)
            await self._pause(READING_S)
            crash.next_pid = (await self._start("It has found them, and goes on.")).pid
            self._people.hear_rest()
            self._listening.touch()
            await self._people.until(self._all_answered)
            self._board.happened("All are answered.", "Nobody had to ask again.")
            await self._pause(READING_S)
        except (LLMError, CannotConnect, TimeoutError) as exc:
            raise NotAsPromised(f"An answer did not come: {exc or type(exc).__name__}.") from exc
        return crash

    async def end(self) -> None:
        """End the engine and its NATS server, so that the folder can be removed."""
        await self._people.disconnect()
        if self._engine is not None:
            await self._engine.end()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(NATS_LIMIT_S):
                # The server of a killed engine needs a moment to end.
                while store_lock.is_taken(self._folder / "data" / "nats"):  # noqa: ASYNC110
                    await asyncio.sleep(0.01)

    @property
    def _words(self) -> int:
        """The words of the answer that will be cut off."""
        return self._board.answers[script.CUT.request_id].words

    def _configure(self) -> None:
        delays = {"delay": FIRST_WORD_S / self._speed, "chunk_delay": WORD_S / self._speed}
        (self._folder / "rosey-llm.toml").write_text(CONFIG.format(**delays))
        self._listening.touch()

    async def _start(self, note: str) -> RunningCommand:
        """Start the engine, and connect the people to it."""
        self._board.happened("$ rosey-llm run", "starting ...")
        engine = self._engine = await RunningCommand.start(
            self._folder, "(is ready)", "run", "--config", "rosey-llm.toml"
        )
        await self._people.connect(self._folder / "data" / "nats" / "url")
        self._board.engine = engine.pid
        self._board.happened(f"Process {engine.pid} is ready.", note)
        return engine

    async def _ask(self, exchanges: tuple[script.ScriptedExchange, ...]) -> None:
        for exchange in exchanges:
            self._people.ask(exchange)
            await self._pause(TYPING_S)

    async def _kill(self, engine: RunningCommand) -> Crash:
        """Kill the engine in the middle of the answers, once all questions are on the disk."""
        await self._people.until(
            lambda: (
                self._words == script.WORDS_TO_KILL
                and self._waiting() == len(self._board.unanswered())
            )
        )
        killed_ms = now_ms()
        await engine.kill()
        await self._people.disconnect()
        self._board.died()
        self._board.happened(
            f"$ kill -9 {engine.pid}",
            f"It dies in the middle of {self._board.count('cut')} answers.",
            is_crash=True,
        )
        self._listening.unlink()
        (self._folder / KILLED).touch()
        self._board.happened(f"{self._waiting()} questions wait", "on the disk, in SQLite.")
        return Crash(killed_ms, engine.pid, self._words)

    def _all_answered(self) -> bool:
        return not self._board.unanswered()

    def _waiting(self) -> int:
        with reading(self.database) as connection:
            return backlog(connection, now_ms()).waiting

    async def _pause(self, seconds: float) -> None:
        await asyncio.sleep(seconds / self._speed if self._is_seen else 0)
