"""The OpenAI Agents SDK with its SQLiteSession, which writes in WAL with SQLite's default, FULL."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache

from agents import (
    Agent,
    OpenAIChatCompletionsModel,
    Runner,
    SessionSettings,
    SQLiteSession,
    set_tracing_disabled,
)
from openai import AsyncOpenAI

from tests.bench.others import SYSTEM, WINDOW, Turn


@asynccontextmanager
async def open_turns(url: str, database: str) -> AsyncIterator[Turn]:
    set_tracing_disabled(True)  # it would send every turn to OpenAI
    window = SessionSettings(limit=WINDOW - 1)
    sessions: dict[str, SQLiteSession] = {}
    async with AsyncOpenAI(base_url=f"{url}/v1", api_key="none") as client:

        @cache
        def agent(model: str) -> Agent:
            answers = OpenAIChatCompletionsModel(model=model, openai_client=client)
            return Agent(name="Bot", instructions=SYSTEM, model=answers)

        async def turn(channel: str, text: str, model: str) -> str:
            if channel not in sessions:
                sessions[channel] = SQLiteSession(channel, database, session_settings=window)
            result = await Runner.run(agent(model), text, session=sessions[channel])
            return str(result.final_output)

        yield turn
