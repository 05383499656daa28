"""A program of another package that uses `rosey_llm`, and how to run it."""

from __future__ import annotations

import subprocess
from pathlib import Path

PROGRAM = """
import asyncio
import sys

import rosey_llm

loaded = {"aiohttp", "sqlite3", "cattrs", "nats"} & set(sys.modules)
assert not loaded, loaded

from rosey_llm import Answer, LLMError, LLMService, ScriptedProvider


async def main() -> None:
    async with LLMService(ScriptedProvider(), database="history.db") as service:
        answer: Answer = await service.chat("Hello")
        print(answer.content)
        try:
            await service.set_persona("nobody")
        except LLMError as exc:
            print(exc.code)


asyncio.run(main())
"""


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(part) for part in command], cwd=cwd, capture_output=True, text=True, timeout=240
    )
