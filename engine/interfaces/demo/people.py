"""The people of the demo: each has a connection to NATS, asks questions and hears the answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from engine.config.settings import NatsSettings
from engine.errors import LLMError
from engine.interfaces.demo.board import Board
from engine.interfaces.demo.script import FIRST, ScriptedExchange
from engine.traffic.chat_client import ChatClient, Received

HEARD_LIMIT_S = 120.0
POLL_S = 0.01


class People:
    """Alice, Bob and Carol. They write down on the board what they ask and hear."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._clients: dict[str, ChatClient] = {}
        self._hearing: dict[str, asyncio.Task[None]] = {}

    async def connect(self, url: str) -> None:
        for exchange in FIRST:
            self._clients[exchange.user] = await ChatClient.connect(
                NatsSettings(), url, exchange.room, exchange.user
            )

    def ask(self, exchange: ScriptedExchange) -> None:
        self._board.asked(exchange)
        client = self._clients[exchange.user]
        self._hear(exchange, client.ask(exchange.question, exchange.request_id))

    def hear_rest(self) -> None:
        """Hear the answers that are missing; no question is sent again."""
        for exchange in self._board.unanswered():
            self._hear(exchange, self._clients[exchange.user].follow(exchange.request_id))

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
        while self._clients:
            await self._clients.popitem()[1].close()

    def _hear(self, exchange: ScriptedExchange, messages: AsyncGenerator[Received, None]) -> None:
        task = asyncio.create_task(self._write_down(exchange, messages))
        self._hearing[exchange.request_id] = task

    async def _write_down(
        self, exchange: ScriptedExchange, messages: AsyncGenerator[Received, None]
    ) -> None:
        async with aclosing(messages):
            async for values in messages:
                match values["type"]:
                    case "llm_delta":
                        self._board.grew(exchange, values["index"], values["delta"])
                    case "llm_response":
                        self._board.answered(exchange, values["content"])
                    case _:
                        raise LLMError(values["code"], values["error"])
