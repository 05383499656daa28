"""The patterns of `[safety] deny`, with a time limit: no message stops the event loop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

# For each pattern, in processor time. In the loop it is short: nearly all messages are done within
# a tenth of a millisecond, less than it takes to ask a thread. Others go on in a thread.
AT_ONCE_S = 0.001
IN_THREAD_S = 0.1
THREADS = 2

log = logging.getLogger("rosey_llm.safety")


class Found(NamedTuple):
    """The result of a search.

    match: the index of the pattern that matches; None if none does.
    late: the indexes of those that took too long, so that nothing is known of them.
    """

    match: int | None
    late: tuple[int, ...] = ()


class DenyList:
    """Compiled patterns; `search` returns the first that matches."""

    def __init__(self, patterns: Sequence[str]) -> None:
        import regex  # a start without patterns does not load it

        self._patterns = [regex.compile(pattern) for pattern in patterns]
        # Its threads start with the first slow message, and end when nobody has the list any more.
        self._threads = ThreadPoolExecutor(THREADS, "rosey-llm-deny")
        self._said: set[int] = set()

    async def search(self, text: str) -> Found:
        """Return what matches a message, or may do so."""
        found = self._search(text, AT_ONCE_S)
        if not found.late:
            return found
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(self._threads, self._search, text, IN_THREAD_S)
        for index in found.late:
            self._say_late(index)
        return found

    def _search(self, text: str, limit_s: float) -> Found:
        late: list[int] = []
        for index, pattern in enumerate(self._patterns):
            try:
                if pattern.search(text, timeout=limit_s):
                    return Found(index)
            except TimeoutError:
                late.append(index)
                if limit_s == AT_ONCE_S:  # a thread finds out
                    break
        return Found(None, tuple(late))

    def _say_late(self, index: int) -> None:
        """Log it once for each pattern: the message that made it slow may come a thousand times."""
        if index in self._said:
            return
        self._said.add(index)
        log.warning(
            "The pattern safety.deny[%(pattern)d] did not end within %(limit_s)g s for a message."
            " Write it so that it need not try many ways.",
            {"event": "safety.pattern_slow", "pattern": index, "limit_s": IN_THREAD_S},
        )
