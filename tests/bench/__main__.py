"""The command line of `make bench`: measure the engine beside its yardsticks, print ratios.

A section is the module with its name, in this folder or in store/. Its `measure(place, plan)`
returns its figures; `place` is the shared stage for sections of the engine, and an empty folder for
each section of the store.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import pstats
import signal
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from time import perf_counter

from tests.bench import figures, goals, machine, record, throughput
from tests.bench.children import ChildFailed
from tests.bench.record import NotPublished, Record, Run
from tests.bench.slices import QUICK, Plan
from tests.bench.stage import Stage, stage

RUN_LIMIT_S = 3600.0
PROFILED = 30  # functions that --profile shows


# In the order in which they run.
ENGINE = ("channels", "throughput", "latency", "streams", "fairness", "overload", "growth")
STORE = ("checkpoints", "waking", "startup", "footprint", "indexing", "searching", "rows")
NAMES = (*ENGINE, *STORE)


def main() -> int:
    arguments = _arguments()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # end the children, as Ctrl-C does
    record.DATA.mkdir(exist_ok=True)
    try:
        if arguments.profile:
            asyncio.run(_profile(_plan(arguments)))
        elif arguments.publish:
            record.publish(Record(arguments.json), NAMES)
        else:
            _measure_and_publish(arguments)
    except ChildFailed as exc:
        print(f"The benchmark failed: {exc}", file=sys.stderr)
        return 1
    except NotPublished as exc:
        print(exc, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _measure_and_publish(arguments: argparse.Namespace) -> None:
    kept, sections = Record(arguments.json), arguments.sections or NAMES
    asyncio.run(_measure(sections, _plan(arguments), kept))
    _print(goals.table(list(goals.verdicts({name: kept.results[name] for name in sections}))))
    print(f"Written to {kept.path}.")
    if not arguments.sections and not arguments.quick:
        record.publish(kept, NAMES)


async def _measure(sections: Sequence[str], plan: Plan, kept: Record) -> None:
    """Measure the engine's sections on one shared stage, then the store's, which need quiet."""
    with _folder() as folder:
        facts = await asyncio.to_thread(machine.facts, folder)
    run = Run(plan, facts)
    _print(f"{name:12} {fact}" for name, fact in facts.items())
    async with asyncio.timeout(RUN_LIMIT_S):
        if of_the_engine := [name for name in sections if name in ENGINE]:
            with _folder() as folder:
                async with stage(folder) as shared:
                    for name in of_the_engine:
                        await _measure_section(kept, run, name, shared)
        for name in (name for name in sections if name in STORE):
            with _folder() as folder:
                await _measure_section(kept, run, name, folder)


async def _measure_section(kept: Record, run: Run, name: str, place: Stage | Path) -> None:
    section = import_module(f"tests.bench.{name if name in ENGINE else f'store.{name}'}")
    began = perf_counter()
    result = await section.measure(place, run.plan)
    kept.add(name, result, run, perf_counter() - began)
    found = list(goals.verdicts(kept.results, section=name))
    _print([*figures.table(kept.results[name], name), *goals.table(found)])


async def _profile(plan: Plan) -> None:
    with _folder() as folder:
        profile = folder / "engine.profile"
        async with asyncio.timeout(RUN_LIMIT_S), stage(folder, profile) as profiled:
            await throughput.measure(profiled, plan)
        pstats.Stats(str(profile)).sort_stats("tottime").print_stats(PROFILED)


@contextmanager
def _folder() -> Iterator[Path]:
    """Create a folder in the project: /tmp may be in memory, where a commit costs nothing."""
    with tempfile.TemporaryDirectory(prefix="bench-", dir=record.DATA) as folder:
        yield Path(folder).absolute()


def _plan(arguments: argparse.Namespace) -> Plan:
    plan = dataclasses.replace(QUICK if arguments.quick else Plan(), full=arguments.full)
    return dataclasses.replace(plan, rounds=arguments.rounds or plan.rounds)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench",
        description="Measure the engine beside its yardsticks and print the ratios. Without a "
        f"SECTION, measure everything and write the results in {record.PAGE}.",
        epilog=f"Sections: {', '.join(NAMES)}.",
    )
    parser.add_argument("sections", nargs="*", metavar="SECTION", help="measure only these")
    parser.add_argument("--rounds", type=_count, help=f"number of rounds ({Plan().rounds})")
    parser.add_argument(
        "--quick", action="store_true", help="measure fewer rounds; quartiles get wider"
    )
    parser.add_argument(
        "--full", action="store_true", help="also measure ten million rows of history"
    )
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help=f"the file of results ({record.FILE})"
    )
    other = parser.add_mutually_exclusive_group()
    other.add_argument(
        "--profile",
        action="store_true",
        help="measure nothing; show where the engine's time goes while it answers",
    )
    other.add_argument(
        "--publish", action="store_true", help="measure nothing; write the page's table from FILE"
    )
    arguments = parser.parse_args()
    if unknown := [name for name in arguments.sections if name not in NAMES]:
        parser.error(f"unknown section {unknown[0]}; choose from {', '.join(NAMES)}")
    if arguments.json is None:
        arguments.json = record.QUICK_FILE if arguments.quick else record.FILE
    elif not arguments.json.parent.is_dir():
        parser.error(f"--json: folder {arguments.json.parent} does not exist")
    return arguments


def _count(text: str) -> int:
    number = int(text)
    if not 2 <= number <= 100:
        raise argparse.ArgumentTypeError("expected 2 to 100")
    return number


def _print(lines: Iterable[str]) -> None:
    print("\n".join(lines), end="\n\n", flush=True)


if __name__ == "__main__":
    sys.exit(main())
