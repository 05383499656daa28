"""The load of a contestant in its own process, with asyncio's own loop.

`python -m tests.bench.others.loop NAME URL DATABASE` writes `{}` when it is open. NAME is a file of
this folder, or a file and one of its functions. Then each line of JSON is a closed loop, whose
figures it answers.
"""

from __future__ import annotations

import asyncio
import importlib
import resource
import sys
from collections.abc import Mapping
from typing import Any

from tests.bench import children, pacing
from tests.bench.others import TEXT, Turn

PIECE = "twenty bytes a piece"  # every answer of the fake provider consists of it


class Contestant(pacing.Sender):
    """A library in this process, asked by its `turn`."""

    def __init__(self, turn: Turn) -> None:
        self._turn = turn

    def ask(self, how: Mapping[str, Any]) -> pacing.Ask:
        async def ask(channel: str) -> bool:
            content = await self._turn(channel, TEXT, how["model"])
            assert content.startswith(PIECE), f"not the provider's answer: {content[:80]!r}"
            return False

        return ask


async def main(name: str, url: str, database: str) -> None:
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # some open a file for each channel
    file, _, function = name.partition(".")
    module = importlib.import_module(f"tests.bench.others.{file}")
    async with getattr(module, function or "open_turns")(url, database) as turn:
        await children.answer_questions(Contestant(turn))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
