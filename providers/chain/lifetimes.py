"""Finds the open links of a family of chains, and closes each when no chain uses it any more."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from providers.base import LLMProvider
from providers.chain.link import Link


class Lifetimes:
    """A reference count of links over a chain and its successors.

    A link is closed when the last chain releases it, so never while a turn may still call it.
    """

    def __init__(self) -> None:
        self._chains: dict[Link, int] = {}
        self._closing: set[asyncio.Task[None]] = set()

    def link_like(self, provider: LLMProvider) -> Link | None:
        """Return the open link of such a provider: same name, kind and configuration."""
        return next((link for link in self._chains if _is_same(link.provider, provider)), None)

    def retain(self, links: Iterable[Link]) -> None:
        """Count a new chain that has these links."""
        for link in links:
            self._chains[link] = self._chains.get(link, 0) + 1

    def release(self, links: Iterable[Link]) -> None:
        """Remove a chain with these links; close, in tasks, the links that no other chain has."""
        for link in links:
            self._chains[link] -= 1
            if not self._chains[link]:
                del self._chains[link]
                task = asyncio.create_task(link.aclose())
                self._closing.add(task)
                task.add_done_callback(self._closing.discard)

    async def aclose(self) -> None:
        """Close all open links, even if a chain still has them."""
        async with asyncio.TaskGroup() as group:
            for link in self._chains:
                group.create_task(link.aclose())
        if self._closing:
            await asyncio.wait(self._closing)


def _is_same(one: LLMProvider, other: LLMProvider) -> bool:
    return type(one) is type(other) and one.name == other.name and one.config == other.config
