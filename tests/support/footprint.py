"""All that a program may leave in a folder: names, sizes, times and content."""

from __future__ import annotations

from pathlib import Path


def footprint(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    """Return mode, time of change and content of each file and folder, by its path."""
    return {
        str(path.relative_to(folder)): (
            path.lstat().st_mode,
            path.lstat().st_mtime_ns,
            path.read_bytes() if path.is_file() else b"",
        )
        for path in (folder, *sorted(folder.rglob("*")))
    }
