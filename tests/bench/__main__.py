"""`make bench`: everything side by side on one machine in one run, told in ratios."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson

from tests.bench import channels, machine, profiles, throughput
from tests.bench.children import ChildFailed
from tests.bench.stage import stage

DATA = Path("data")
RUN_LIMIT_S = 600.0


@dataclass(frozen=True)
class Plan:
    """How much is measured: rounds of bursts, rounds of slices, and a slice's seconds."""

    bursts: int
    rounds: int
    slice_s: float


def main() -> int:
    arguments = _arguments()
    plan = Plan(2, 5, 0.4) if arguments.quick else Plan(5, 15, 0.5)
    if arguments.rounds:
        plan = Plan(plan.bursts, arguments.rounds, plan.slice_s)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # children are ended as by Ctrl-C
    DATA.mkdir(exist_ok=True)
    # In a folder of the project, since /tmp may be memory, and then a commit would cost nothing.
    with tempfile.TemporaryDirectory(prefix="bench-", dir=DATA) as folder:
        try:
            if arguments.profile:
                asyncio.run(_profile(Path(folder).absolute(), plan))
                return 0
            results = asyncio.run(_measure(Path(folder).absolute(), plan))
        except ChildFailed as exc:
            print(f"The benchmark failed: {exc}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            return 130
    if arguments.json:
        arguments.json.write_bytes(orjson.dumps(results, option=orjson.OPT_INDENT_2) + b"\n")
        print(f"\nWritten to {arguments.json}.")
    return 0


async def _measure(folder: Path, plan: Plan) -> dict[str, Any]:
    facts = await asyncio.to_thread(machine.facts, folder)
    _show([f"{name:12} {fact}" for name, fact in facts.items()])
    async with asyncio.timeout(RUN_LIMIT_S), stage(folder) as everybody:
        rows = await channels.measure(everybody, plan.bursts)
        _show(channels.table(rows, plan.bursts))
        answers = await throughput.measure(everybody, plan.rounds, plan.slice_s)
        _show(throughput.table(answers, plan.rounds, plan.slice_s))
    return {
        "machine": facts,
        "plan": asdict(plan),
        "channels_against_time": [asdict(row) | {"gain": row.gain} for row in rows],
        "answers_a_second": asdict(answers),
    }


async def _profile(folder: Path, plan: Plan) -> None:
    profile = folder / "engine.profile"
    async with asyncio.timeout(RUN_LIMIT_S), stage(folder, profile) as everybody:
        await throughput.measure(everybody, plan.rounds, plan.slice_s)
    _show(profiles.table(profile))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench",
        description="Measure the engine beside its yardsticks and print the ratios.",
    )
    parser.add_argument("--rounds", type=_count, help="rounds of answers a second (15)")
    parser.add_argument("--quick", action="store_true", help="fewer rounds, wider quartiles")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    parser.add_argument(
        "--profile",
        action="store_true",
        help="measure nothing, but say where the engine's time goes while it answers",
    )
    arguments = parser.parse_args()
    if arguments.json and not arguments.json.parent.is_dir():
        parser.error(f"--json: there is no folder {arguments.json.parent}")
    return arguments


def _count(text: str) -> int:
    number = int(text)
    if not 2 <= number <= 100:
        raise argparse.ArgumentTypeError("expected 2 to 100")
    return number


def _show(lines: list[str]) -> None:
    print("\n".join(lines), end="\n\n", flush=True)


if __name__ == "__main__":
    sys.exit(main())
