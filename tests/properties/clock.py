"""An event loop with a virtual clock: time passes only when the test lets it."""

from __future__ import annotations

import asyncio
import selectors
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

STARTED_S = 1_800_000_000.0
IDLE_LIMIT = 50_000


class Clock:
    """A replacement for the module `time` in the engine; it is shared by all runs of the engine."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def monotonic(self) -> float:
        return self.now_s

    def time(self) -> float:
        return STARTED_S + self.now_s

    def time_ns(self) -> int:
        return round(self.time() * 1e9)

    @contextmanager
    def patch_time(self) -> Iterator[None]:
        """Replace `time` in all modules of the engine that import it."""
        with ExitStack() as stack:
            for name, module in list(sys.modules.items()):
                ours = name.split(".")[0] in ("engine", "providers", "storage")
                if ours and getattr(module, "time", None) is time:
                    stack.enter_context(mock.patch.object(module, "time", self))
            yield


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop that runs for a number of rounds, or until nothing happens within some time.

    work: called when nothing is ready; does the work of the outside world, such as the disk, and
    returns whether it did any.
    """

    def __init__(self, clock: Clock, work: Callable[[], bool]) -> None:
        super().__init__(_Selector(self._idle))
        self._virtual = clock
        self._work = work
        self._left_s = 0.0
        self._idles = 0
        self.tasks: set[asyncio.Task[Any]] = set()
        self._until: Callable[[], bool] = lambda: False
        self.set_default_executor(_AtOnce())

    def time(self) -> float:
        return self._virtual.now_s

    def create_task(  # type: ignore[override]
        self, coro: Coroutine[Any, Any, Any], **kwargs: Any
    ) -> asyncio.Task[Any]:
        task = super().create_task(coro, **kwargs)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    def run_round(self) -> None:
        """Run what is ready now, but nothing that becomes ready through it."""
        self.call_soon(self.stop)
        self.run_forever()

    def run_until_idle(
        self, seconds: float = 0.0, until: Callable[[], bool] = lambda: False
    ) -> None:
        """Run while anything happens, for up to `seconds`; end early if `until` is true."""
        self._left_s, self._until, self._idles = seconds, until, 0
        self.run_forever()

    def _idle(self, timeout_s: float | None) -> None:
        self._idles += 1
        if self._idles > IDLE_LIMIT:
            raise RuntimeError("the engine never becomes idle")
        if self._work():
            return
        if self._until() or timeout_s is None or timeout_s > self._left_s:
            if not self._until():
                self._virtual.now_s += self._left_s
            self.stop()
            return
        self._left_s -= timeout_s
        self._virtual.now_s += timeout_s


class _Selector(selectors.SelectSelector):
    """A selector that calls `idle` instead of waiting."""

    def __init__(self, idle: Callable[[float | None], None]) -> None:
        super().__init__()
        self._idle = idle

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready and timeout != 0:
            self._idle(timeout)
        return ready


class _AtOnce(ThreadPoolExecutor):
    """An executor that runs its work in place, so that no thread's speed matters."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        done: Future[Any] = Future()
        done.set_result(fn(*args, **kwargs))
        return done
