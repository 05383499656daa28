"""A dictionary with a limited number of keys, for keys that users can choose."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class BoundedDict(Generic[K, V]):
    """A dictionary that makes missing values with `new`, up to `limit` keys.

    After that, all new keys share the value of the key `other`.
    """

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
