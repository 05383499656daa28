"""Facts about the machine, and what a process uses of it."""

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

MIB = 2**20
PACKAGES = ("rosey-llm", "aiohttp", "nats-py", "orjson", "uvloop", "aiosqlite")
SYNCS = 51


def facts(folder: Path) -> dict[str, str]:
    """Return the machine and the versions, for people. folder: where the database will be."""
    return {
        "machine": f"{_cpu()}, {os.cpu_count()} cores, {_memory()}",
        "system": f"{platform.system()} {platform.release()}, {platform.machine()}",
        "load before": f"{os.getloadavg()[0]:.1f} (one minute; measure on an idle machine)",
        "commit": _output("git", "describe", "--always", "--dirty") or "unknown",
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "packages": ", ".join(f"{name} {version(name)}" for name in PACKAGES),
        "SQLite": sqlite3.sqlite_version,
        "nats-server": _output(str(find_binary()), "--version").rpartition(" ")[2],
        "fdatasync": f"{sync_ms(folder):.2f} ms (median of {SYNCS} writes of 4 KiB)",
    }


def cpu_s(pid: int) -> float:
    """Return the processor time of a process and its children; 0.0 if not on Linux."""
    if sys.platform != "linux":
        return 0.0
    # The clock of clock_getcpuclockid is exact; /proc counts in hundredths of a second.
    return sum(time.clock_gettime(~each << 3 | 2) for each in _with_descendants(pid))


def rss_bytes(pid: int) -> int:
    """Return the resident memory of a process and its children; 0 if not on Linux."""
    if sys.platform != "linux":
        return 0
    pages = sum(
        int(Path(f"/proc/{each}/statm").read_text().split()[1]) for each in _with_descendants(pid)
    )
    return pages * os.sysconf("SC_PAGE_SIZE")


def sync_ms(folder: Path, pause_s: float = 0.0) -> float:
    """Return the median milliseconds of an fdatasync of 4 KiB in a file in `folder`.

    pause_s: the pause before each one. A disk that has just synced is faster the next time.
    """
    path = folder / "sync"
    times = []
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        for number in range(SYNCS):
            time.sleep(pause_s)
            os.pwrite(descriptor, bytes(4096), number * 4096)
            began = time.perf_counter()
            getattr(os, "fdatasync", os.fsync)(descriptor)  # macOS has no fdatasync
            times.append(time.perf_counter() - began)
    finally:
        os.close(descriptor)
        path.unlink()
    return statistics.median(times) * 1000


def _with_descendants(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(each for child in children for each in _with_descendants(int(child)))]


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


def _output(*command: str) -> str:
    """Return what a command writes, or "" if it fails or is not installed."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()
