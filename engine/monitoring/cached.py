"""A result that is kept for a short time, so that frequent requests cannot keep the engine busy."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Cached(Generic[T]):
    """The result of `make`, made again if it is older than `keep_s` seconds; one call at a time."""

    def __init__(self, make: Callable[[], Awaitable[T]], keep_s: float) -> None:
        self._make = make
        self._keep_s = keep_s
        self._making = asyncio.Lock()
        self._made: tuple[float, T] | None = None  # (when, the result)

    async def get(self) -> T:
        async with self._making:
            if self._made is None or time.monotonic() - self._made[0] > self._keep_s:
                result = await self._make()
                self._made = time.monotonic(), result
            return self._made[1]
