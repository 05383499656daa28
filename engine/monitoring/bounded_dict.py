"""A dictionary that cannot grow without end, whoever chooses its keys."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class BoundedDict(Generic[K, V]):
    """Gives each key a value made by `new`; once there are `limit`, all others share `other`'s."""

    def __init__(self, new: Callable[[], V], limit: int, other: K) -> None:
        self._new = new
        self._limit = limit
        self._other = other
        self._values: dict[K, V] = {}

    def __getitem__(self, key: K) -> V:
        if (value := self._values.get(key)) is not None:
            return value
        if len(self._values) >= self._limit:
            key = self._other
        return self._values.setdefault(key, self._new())

    def items(self) -> list[tuple[K, V]]:
        return list(self._values.items())
