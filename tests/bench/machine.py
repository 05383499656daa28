"""What a measurement was made on, and what a process has cost."""

from __future__ import annotations

import os
import platform
import sqlite3
import statistics
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

from engine.traffic.embedded.process import find_binary

PACKAGES = ("rosey-llm", "aiohttp", "nats-py", "orjson", "uvloop", "aiosqlite")
SYNCS = 51


def facts(folder: Path) -> dict[str, str]:
    """The machine and the versions, for people; `folder` is where the database will be."""
    return {
        "machine": f"{_cpu()}, {os.cpu_count()} cores, {_memory()}",
        "system": f"{platform.system()} {platform.release()}, {platform.machine()}",
        "load before": _load_average(),
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "packages": ", ".join(f"{name} {version(name)}" for name in PACKAGES),
        "SQLite": sqlite3.sqlite_version,
        "nats-server": _nats_version(),
        "fdatasync": f"{sync_ms(folder):.2f} ms (median of {SYNCS} writes of 4 KiB)",
    }


def cpu_s(pid: int) -> float:
    """Seconds of processor time that a process and its children have used; 0.0 off Linux."""
    if sys.platform != "linux":
        return 0.0
    # What clock_getcpuclockid gives: exact, where /proc counts in hundredths of a second.
    return sum(time.clock_gettime(~each << 3 | 2) for each in _family(pid))


def rss_bytes(pid: int) -> int:
    """What a process and its children have in memory; 0 off Linux."""
    if sys.platform != "linux":
        return 0
    pages = sum(int(Path(f"/proc/{each}/statm").read_text().split()[1]) for each in _family(pid))
    return pages * os.sysconf("SC_PAGE_SIZE")


def sync_ms(folder: Path, pause_s: float = 0.0) -> float:
    """Median milliseconds of an fdatasync after 4 KiB were written to a file in `folder`.

    With a pause before each: a disk that has just synced is quicker to do it again.
    """
    path = folder / "sync"
    times = []
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        for number in range(SYNCS):
            time.sleep(pause_s)
            os.pwrite(descriptor, bytes(4096), number * 4096)
            began = time.perf_counter()
            _sync(descriptor)
            times.append(time.perf_counter() - began)
    finally:
        os.close(descriptor)
        path.unlink()
    return statistics.median(times) * 1000


def _family(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(each for child in children for each in _family(int(child)))]


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown processor"


def _memory() -> str:
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return f"{pages / 2**30:.0f} GiB"


def _load_average() -> str:
    return f"{os.getloadavg()[0]:.1f} (one minute; the ratios want a machine that is idle)"


def _nats_version() -> str:
    said = subprocess.run(
        [str(find_binary()), "--version"], capture_output=True, text=True, timeout=10, check=True
    )
    return said.stdout.strip().rpartition(" ")[2]


def _sync(descriptor: int) -> None:
    getattr(os, "fdatasync", os.fsync)(descriptor)  # macOS has no fdatasync
