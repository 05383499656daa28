"""What an engine's process uses now: memory, open files, threads and event loop tasks."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import orjson

from tests.chaos.engine import EngineProcess

ANSWER_LIMIT_S = 30.0


@dataclass(frozen=True, slots=True)
class ProcessUsage:
    """A measurement of a running engine, from /proc (Linux); `tasks` is what the engine reports."""

    rss_mib: float
    fds: int
    threads: int
    tasks: int

    @classmethod
    async def of(cls, engine: EngineProcess) -> Self:
        status = dict(
            line.split(":", 1)
            for line in Path(f"/proc/{engine.pid}/status").read_text().splitlines()
        )
        engine.signal(signal.SIGUSR1)
        answer = await engine.read_line(ANSWER_LIMIT_S)
        return cls(
            int(status["VmRSS"].split()[0]) / 1024,
            len(os.listdir(f"/proc/{engine.pid}/fd")),
            int(status["Threads"]),
            orjson.loads(answer)["tasks"] if answer else -1,
        )

    @staticmethod
    def head() -> str:
        return f"{'RSS MiB':>9} {'files':>6} {'threads':>8} {'tasks':>6}"

    def __str__(self) -> str:
        return f"{self.rss_mib:>9.1f} {self.fds:>6} {self.threads:>8} {self.tasks:>6}"
