"""The people of the demo: each has a connection to NATS, asks questions and hears the answers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

from engine.client.client import Client
from engine.client.pieces import Pieces
from engine.interfaces.demo.board import Board
from engine.interfaces.demo.script import FIRST, ScriptedExchange

client_log = logging.getLogger("rosey_llm.client")
HEARD_LIMIT_S = 120.0
POLL_S = 0.01


class People:
    """Alice, Bob and Carol. They write down on the board what they ask and hear."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._clients: dict[str, Client] = {}
        self._connections = AsyncExitStack()
        self._hearing: dict[str, asyncio.Task[None]] = {}

    async def connect(self, address: Path) -> None:
        """Connect to the address that the service wrote into this file."""
        # The service will be killed: what the demo shows then needs no warning.
        client_log.setLevel(logging.ERROR)
        for exchange in FIRST:
            self._clients[exchange.user] = await self._connections.enter_async_context(
                Client(address)
            )

    def ask(self, exchange: ScriptedExchange) -> None:
        self._board.asked(exchange)
        client = self._clients[exchange.user]
        pieces = client.stream_command(
            exchange.question,
            exchange.room,
            username=exchange.user,
            request_id=exchange.request_id,
        )
        self._hear(exchange, pieces)

    def hear_rest(self) -> None:
        """Hear the answers that are missing; no question is sent again."""
        for exchange in self._board.unanswered():
            client = self._clients[exchange.user]
            self._hear(exchange, client.follow(exchange.request_id, exchange.room))

    async def until(self, reached: Callable[[], bool]) -> None:
        """Wait until something is reached. Raises what hearing raised, and TimeoutError."""
        async with asyncio.timeout(HEARD_LIMIT_S):
            while not reached():
                for task in self._hearing.values():
                    if task.done():
                        task.result()
                await asyncio.sleep(POLL_S)

    async def disconnect(self) -> None:
        """Stop hearing, and close all connections."""
        for task in self._hearing.values():
            task.cancel()
        await asyncio.gather(*self._hearing.values(), return_exceptions=True)
        self._hearing.clear()
        await self._connections.aclose()

    def _hear(self, exchange: ScriptedExchange, pieces: Pieces) -> None:
        task = asyncio.create_task(self._write_down(exchange, pieces))
        self._hearing[exchange.request_id] = task

    async def _write_down(self, exchange: ScriptedExchange, pieces: Pieces) -> None:
        async with pieces:
            async for _ in pieces:
                self._board.grew(exchange, pieces.text)
        self._board.answered(exchange, pieces.answer.content)
