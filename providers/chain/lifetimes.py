"""How long the links of a chain and of its successors stay open."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from providers.chain.link import Link


class Lifetimes:
    """Each link is closed once no chain has it any more: not while a turn may still call it."""

    def __init__(self) -> None:
        self._chains: dict[Link, int] = {}
        self._closing: set[asyncio.Task[None]] = set()

    def taken(self, links: Iterable[Link]) -> None:
        """A chain is made of these links."""
        for link in links:
            self._chains[link] = self._chains.get(link, 0) + 1

    def left(self, links: Iterable[Link]) -> None:
        """A chain has ended; what only it had is closed, in tasks of its own."""
        for link in links:
            self._chains[link] -= 1
            if not self._chains[link]:
                del self._chains[link]
                task = asyncio.create_task(link.aclose())
                self._closing.add(task)
                task.add_done_callback(self._closing.discard)

    async def aclose(self) -> None:
        """Close all that is open, whoever has it."""
        async with asyncio.TaskGroup() as group:
            for link in self._chains:
                group.create_task(link.aclose())
        if self._closing:
            await asyncio.wait(self._closing)
