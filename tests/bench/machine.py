"""Facts about the machine and its page cache, and what a process uses of the machine."""

from __future__ import annotations

import os
import platform
import sqlite3
import statistics
import subprocess
import sys
import sysconfig
import time
from importlib.metadata import version
from pathlib import Path

MIB = 2**20
PACKAGES = ("rosey-llm", "aiohttp", "nats-py", "orjson", "uvloop", "aiosqlite")
SYNCS = 51


def facts(folder: Path) -> dict[str, str]:
    """Return the machine and the versions, for people. folder: where the database will be."""
    from engine.traffic.embedded.program import find_program  # the alternatives have no engine

    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "machine": f"{_cpu()}, {os.cpu_count()} cores, {memory / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}, {platform.machine()}",
        "load before": f"{load():.1f} (one minute; measure on an idle machine)",
        "commit": _output("git", "describe", "--always", "--dirty") or "unknown",
        "Python": f"{platform.python_implementation()} {platform.python_version()}, {build()}",
        "packages": ", ".join(f"{name} {version(name)}" for name in PACKAGES),
        "SQLite": sqlite3.sqlite_version,
        "nats-server": f"v{find_program().version}",
        "fdatasync": f"{sync_ms(folder):.2f} ms (median of {SYNCS} writes of 4 KiB)",
    }


def load() -> float:
    """Return how many processes ran or waited for the processor or disk, over the last minute."""
    return os.getloadavg()[0]


def build() -> str:
    """Return how the interpreter was built; an optimised one takes a sixth less time for a turn."""
    flags = str(sysconfig.get_config_var("CONFIG_ARGS"))
    found = [each for each in ("--enable-optimizations", "--with-lto") if each in flags]
    return f"built with {' '.join(found)}" if found else "built without --enable-optimizations"


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
    statm = [Path(f"/proc/{each}/statm").read_text() for each in _with_descendants(pid)]
    return sum(int(each.split()[1]) for each in statm) * os.sysconf("SC_PAGE_SIZE")


def sync_ms(folder: Path) -> float:
    """Return the median milliseconds of an fdatasync of 4 KiB in a file in `folder`."""
    path, times = folder / "sync", []
    with path.open("wb", buffering=0) as file:
        for _ in range(SYNCS):
            file.write(bytes(4096))
            began = time.perf_counter()
            getattr(os, "fdatasync", os.fsync)(file.fileno())  # macOS has no fdatasync
            times.append(time.perf_counter() - began)
    path.unlink()
    return statistics.median(times) * 1000


def read_into_memory(path: Path) -> None:
    """Read the whole file, so that it is in memory if the system keeps it there."""
    chunk = bytearray(MIB)
    with path.open("rb", buffering=0) as file:
        while file.readinto(chunk):
            pass


def drop_from_memory(path: Path) -> None:
    """Write the file, and files beside it whose names begin with its name, to disk; drop them from
    memory, so that the next read comes from the disk, which may have a cache of its own.

    Not in a process that has the file open in SQLite: closing it would free SQLite's locks.
    """
    for each in path.parent.glob(f"{path.name}*"):
        with each.open("rb", buffering=0) as file:
            os.fsync(file.fileno())  # what is not on disk yet is never dropped
            if hasattr(os, "posix_fadvise"):  # macOS has none
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _with_descendants(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(each for child in children for each in _with_descendants(int(child)))]


def _cpu() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown processor"


def _output(*command: str) -> str:
    """Return what a command writes, or "" if it fails or is not installed."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()
