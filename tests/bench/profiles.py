"""A table of where the engine's event loop thread spends its time, by cProfile."""

from __future__ import annotations

import pstats
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath

TOP = 30
PACKAGES = ("engine", "providers", "storage", "aiohttp", "nats", "asyncio")
# uvloop is not Python: its work and its waiting count as its caller's own time.
LOOP = ("runners.py", "run")


@dataclass(frozen=True)
class Spent:
    """Seconds spent in a function itself, and with all functions that it called."""

    package: str
    where: str
    calls: int
    own_s: float
    with_callees_s: float


def table(profile: Path) -> list[str]:
    """Return the time by package, then the functions with the most time of their own."""
    spent = list(_read(profile))
    total_s = sum(each.own_s for each in spent)
    packages: Counter[str] = Counter()
    for each in spent:
        packages[each.package] += each.own_s  # type: ignore[assignment]
    shares = ", ".join(f"{name} {own / total_s:.0%}" for name, own in packages.most_common(10))
    top = sorted(spent, key=lambda each: -each.own_s)[:TOP]
    return [
        f"Where the engine's Python spent {total_s:.1f} s in the event loop's thread "
        "(the profiler makes calls slow):",
        shares,
        "",
        "  own s   with callees s       calls   function",
        *(
            f"{each.own_s:7.2f} {each.with_callees_s:16.2f} {each.calls:11,}   {each.where}"
            for each in top
        ),
    ]


def _read(profile: Path) -> Iterator[Spent]:
    stats = pstats.Stats(str(profile)).stats  # type: ignore[attr-defined]
    for (file, line, name), (_, calls, own_s, with_callees_s, _) in stats.items():
        if (PurePath(file).name, name) != LOOP:
            where = f"{'/'.join(PurePath(file).parts[-3:])}:{line} {name}"
            yield Spent(_package(file), where, calls, own_s, with_callees_s)


def _package(file: str) -> str:
    """Return the package of a function; "built in" for those written in C."""
    if file == "~":
        return "built in"
    names = set(PurePath(file).parts)
    return next((name for name in PACKAGES if name in names), "other")
