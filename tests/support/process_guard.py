"""Keeps `make test-fast` fast: there, a test that starts a process must have the mark for it."""

from __future__ import annotations

import sys
from collections.abc import Generator

import pytest

STARTS = {"subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.system"}
# What Python's `platform` and `ctypes` start to learn about the machine, once in a process.
ABOUT_THE_MACHINE = ("uname", "/sbin/ldconfig")


class ProcessGuard:
    """A pytest plugin that fails each test that starts a process."""

    def __init__(self) -> None:
        self._started: list[str] = []
        sys.addaudithook(self._on_event)

    def _on_event(self, event: str, arguments: tuple[object, ...]) -> None:
        if event in STARTS and arguments[:1] not in [(name,) for name in ABOUT_THE_MACHINE]:
            self._started.append(f"{event} {arguments[:2]}")

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_teardown(self) -> Generator[None, None, None]:
        try:
            return (yield)
        finally:
            started, self._started = self._started, []
            if started:
                pytest.fail(f"Mark this test with pytest.mark.process: it started {started[0]}.")
