"""The script that most authors write: the openai SDK, and aiosqlite with a commit for each turn."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiosqlite
from openai import AsyncOpenAI

from tests.bench.others import SYSTEM, WINDOW, Turn

SCHEMA = """
PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;
CREATE TABLE message (id INTEGER PRIMARY KEY, channel TEXT, role TEXT, content TEXT);
CREATE INDEX message_channel ON message(channel);
"""
NEWEST = "SELECT role, content FROM message WHERE channel = ? ORDER BY id DESC LIMIT ?"
INSERT = "INSERT INTO message (channel, role, content) VALUES (?, ?, ?)"


@asynccontextmanager
async def open_turns(url: str, database: str) -> AsyncIterator[Turn]:
    client = AsyncOpenAI(base_url=f"{url}/v1", api_key="none")
    async with client, aiosqlite.connect(database) as db:
        await db.executescript(SCHEMA)

        async def turn(channel: str, text: str, model: str) -> str:
            newest = list(await db.execute_fetchall(NEWEST, (channel, WINDOW - 1)))[::-1]
            spoken = [("system", SYSTEM), *newest, ("user", text)]
            messages: list[Any] = [{"role": role, "content": said} for role, said in spoken]
            reply = await client.chat.completions.create(model=model, messages=messages)
            answer = reply.choices[0].message.content or ""
            rows = [(channel, "user", text), (channel, "assistant", answer)]
            async with db.executemany(INSERT, rows):  # else the cursor ends in another thread
                await db.commit()
            return answer

        yield turn
