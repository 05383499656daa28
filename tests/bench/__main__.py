"""The command line of `make bench`: measure the engine beside its yardsticks, print ratios."""

from __future__ import annotations

import argparse
import asyncio
import pstats
import signal
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import TypeVar

from tests.bench import (
    alternatives,
    closed_loops,
    figures,
    goals,
    limits,
    machine,
    marks,
    open_loops,
    record,
    slow_disk,
)
from tests.bench.children import ChildFailed
from tests.bench.figures import QUICK, Plan, Result
from tests.bench.record import NotPublished, Record
from tests.bench.stage import Stage, stage
from tests.bench.store import footprint, history

T = TypeVar("T")
Section = Callable[[T, Plan], Awaitable[Result]]  # T: where it is measured

RUN_LIMIT_S = 3600.0
PROFILED = 30  # functions that --profile shows

# In the order in which they run. Those of the engine share a stage; each other has a folder.
ENGINE: dict[str, Section[Stage]] = {
    "channels": closed_loops.channels,
    "throughput": closed_loops.throughput,
    "latency": open_loops.latency,
    "pauses": open_loops.pauses,
    "marks": marks.marks,
    "streams": closed_loops.streams,
    "fairness": open_loops.fairness,
    "overload": open_loops.overload,
    "limits": limits.limits,
    "growth": closed_loops.growth,
    "indexing": closed_loops.indexing,
    "slow_disk": slow_disk.slow_disk,
}
STORE: dict[str, Section[Path]] = {
    "checkpoints": history.checkpoints,
    "waking": history.waking,
    "startup": history.startup,
    "footprint": footprint.footprint,
    "searching": history.searching,
    "rows": history.rows,
    # Only if it is named, because it downloads much; it has tables of its own.
    alternatives.NAME: alternatives.alternatives,
}
NAMES = (*ENGINE, *(name for name in STORE if name != alternatives.NAME))


def main() -> int:
    options = _options()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # end the children, as Ctrl-C does
    record.DATA.mkdir(exist_ok=True)
    kept = Record(record.QUICK_FILE if options.quick else record.FILE)
    plan = replace(QUICK if options.quick else Plan(), full=options.full)
    try:
        if options.profile:
            asyncio.run(_profile(plan))
        else:
            _run(options, plan, kept)
    except (ChildFailed, NotPublished, subprocess.SubprocessError) as exc:
        print(f"The benchmark failed: {exc}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _run(options: argparse.Namespace, plan: Plan, kept: Record) -> None:
    sections = options.sections or NAMES
    beside = alternatives.NAME in (kept.sections if options.publish else sections)
    if not options.publish:
        if (beside or not options.sections) and not (options.quick or options.busy):
            _check_quiet()
        asyncio.run(_measure(sections, plan, kept))
        print(f"Written to {kept.path}.")
    if options.quick:
        return
    if beside:
        alternatives.publish(kept, options.busy)
    if options.publish or not options.sections:
        record.publish(kept, NAMES, options.busy)


def _check_quiet() -> None:
    """Raise NotPublished before a long run whose results would not be published."""
    if (load := machine.load()) > record.BUSY:
        raise NotPublished(
            f"nothing was measured, because the load of the machine is {load:.1f}, and results "
            f"from above {record.BUSY} are not published. Wait until it is idle, or add --busy."
        )


async def _measure(sections: Sequence[str], plan: Plan, kept: Record) -> None:
    """Measure the engine's sections on one shared stage, then the store's, which need quiet."""
    with _folder() as folder:
        facts = machine.facts(folder)
    if alternatives.NAME in sections:
        facts |= alternatives.facts()
    _print(f"{name:12} {fact}" for name, fact in facts.items())

    async def measure(name: str, section: Section[T], place: T) -> None:
        began = perf_counter()
        result = await section(place, plan)
        kept.add(name, result, plan, facts, perf_counter() - began)
        took = f"{name} took {perf_counter() - began:.0f} s"
        judged = figures.table(goals.HEAD, goals.rows(goals.verdicts({name: result})))
        _print([*figures.lines(result, name), "", *judged, "", took])

    async with asyncio.timeout(RUN_LIMIT_S):
        if of_the_engine := [name for name in sections if name in ENGINE]:
            with _folder() as folder:
                async with stage(folder) as around, around.contestants():
                    for name in of_the_engine:
                        await measure(name, ENGINE[name], around)
        for name in (name for name in sections if name in STORE):
            with _folder() as folder:
                await measure(name, STORE[name], folder)


async def _profile(plan: Plan) -> None:
    with _folder() as folder:
        profile = folder / "engine.profile"
        async with stage(folder) as around, around.contestants(profile):
            await closed_loops.throughput(around, plan)
        pstats.Stats(str(profile)).sort_stats("tottime").print_stats(PROFILED)


@contextmanager
def _folder() -> Iterator[Path]:
    """Create a folder in the project: /tmp may be in memory, where a commit costs nothing."""
    with tempfile.TemporaryDirectory(prefix="bench-", dir=record.DATA) as folder:
        yield Path(folder).absolute()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench",
        description="Measure the engine beside its yardsticks and print the ratios. Without a "
        f"SECTION, measure everything and write the results in {record.PAGE}.",
        epilog=f"Sections: {', '.join(NAMES)}; {alternatives.NAME}, only if it is named.",
    )
    parser.add_argument("sections", nargs="*", metavar="SECTION", help="measure only these")
    parser.add_argument("--quick", action="store_true", help="fewer rounds, wider quartiles")
    parser.add_argument("--full", action="store_true", help="also measure ten million rows")
    add = parser.add_mutually_exclusive_group().add_argument
    parser.add_argument("--busy", action="store_true", help="publish also if the machine was busy")
    add("--profile", action="store_true", help="only show where the engine's time goes")
    add("--publish", action="store_true", help="only write the page's table from the results")
    options = parser.parse_args()
    known = (*NAMES, alternatives.NAME)
    if unknown := [name for name in options.sections if name not in known]:
        parser.error(f"unknown section {unknown[0]}; choose from {', '.join(known)}")
    if "slow_disk" in (options.sections or NAMES) and not slow_disk.can_be_slow():
        parser.error(
            "slow_disk needs Linux and a C compiler, cc: install gcc, or name other sections"
        )
    return options


def _print(lines: Iterable[str]) -> None:
    print("\n".join(lines), end="\n\n", flush=True)


if __name__ == "__main__":
    sys.exit(main())
