"""`python -m tests.bench.store SECTION`: one section of these, or several, by themselves."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import tempfile
from importlib import import_module
from pathlib import Path

from tests.bench.children import ChildFailed
from tests.bench.plan import QUICK, Plan

SECTIONS = ("checkpoints", "waking", "startup", "footprint", "indexing", "searching", "rows")
DATA = Path("data")
LIMIT_S = 3600.0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.store", description=__doc__)
    parser.add_argument("sections", nargs="+", choices=SECTIONS, metavar="SECTION")
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    parser.add_argument("--full", action="store_true", help="also with ten million rows")
    arguments = parser.parse_intermixed_args()
    plan = QUICK if arguments.quick else Plan()
    plan = Plan(plan.rounds, plan.slice_s, plan.quick, arguments.full)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # children are ended as by Ctrl-C
    DATA.mkdir(exist_ok=True)
    try:
        for section in arguments.sections:
            # In a folder of the project, since /tmp may be memory, where a commit costs nothing.
            with tempfile.TemporaryDirectory(prefix="bench-", dir=DATA) as folder:
                print("\n".join(asyncio.run(_measured(section, Path(folder).absolute(), plan))))
                print(flush=True)
    except ChildFailed as exc:
        print(f"The benchmark failed: {exc}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


async def _measured(section: str, folder: Path, plan: Plan) -> list[str]:
    part = import_module(f"tests.bench.store.{section}")
    async with asyncio.timeout(LIMIT_S):
        lines: list[str] = part.table(await part.measure(folder, plan))
    return lines


if __name__ == "__main__":
    sys.exit(main())
