"""What a measurement was made on, and what a process has cost."""

from __future__ import annotations

import os
import platform
import sqlite3
import statistics
import subprocess
from importlib.metadata import version
from pathlib import Path
from time import perf_counter

from engine.traffic.nats_process import find_binary

PACKAGES = ("rosey-llm", "aiohttp", "nats-py", "orjson", "uvloop")
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
        "fdatasync": f"{_sync_ms(folder):.2f} ms (median of {SYNCS} writes of 4 KiB)",
    }


def cpu_s(pid: int) -> float:
    """Seconds of processor time that a process has used; 0.0 where the system does not tell."""
    try:
        line = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0.0
    # The second field is the program's name and may hold spaces.
    user, system = line.rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


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


def _sync_ms(folder: Path) -> float:
    path = folder / "sync"
    times = []
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        for number in range(SYNCS):
            os.pwrite(descriptor, bytes(4096), number * 4096)
            began = perf_counter()
            _sync(descriptor)
            times.append(perf_counter() - began)
    finally:
        os.close(descriptor)
        path.unlink()
    return statistics.median(times) * 1000


def _sync(descriptor: int) -> None:
    getattr(os, "fdatasync", os.fsync)(descriptor)  # macOS has no fdatasync
