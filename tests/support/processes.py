"""What the system says of a process."""

from __future__ import annotations

from pathlib import Path


def proc(pid: int, name: str) -> str:
    """Return the text of a file in /proc."""
    return Path(f"/proc/{pid}/{name}").read_text()


def alive(pid: int) -> bool:
    """Return whether a process runs; one that has ended and is not waited for does not."""
    try:
        state = proc(pid, "stat").rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def children(pid: int) -> set[int]:
    return {int(child) for child in proc(pid, f"task/{pid}/children").split()}


def open_files(pid: int) -> list[Path]:
    """Return the files that a process has open."""
    return [fd.resolve() for fd in Path(f"/proc/{pid}/fd").iterdir()]
