"""`rosey-llm run` as a process that dies at a kill point, or that is broken on purpose.

It imports everything and then waits for a line on its standard input, so that the next engine can
start at once when the one before it is killed. On SIGUSR1 it prints how many tasks it has.
"""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import logging
import os
import signal
import sys
from pathlib import Path

import orjson
import uvloop

from engine.config.loading import load
from engine.config.settings import Settings
from engine.daemon.run import run
from tests.chaos import charges, kill_points
from tests.chaos.breakages import BREAKAGES


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.engine_process")
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--break", dest="breakage", choices=sorted(BREAKAGES))
    parser.add_argument("--charges", action="store_true", help="record each charge")
    arguments = parser.parse_args()
    _die_with_parent()
    settings = load(arguments.config)
    logging.basicConfig(
        stream=sys.stderr,
        level=settings.log.level.upper(),
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    kill_points.install_from_environment()
    if arguments.breakage:
        BREAKAGES[arguments.breakage]()
    if arguments.charges:
        charges.install()
    if sys.stdin.readline():
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_run(settings))


async def _run(settings: Settings) -> None:
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, _print_task_count)
    await run(settings, _print)


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _print_task_count() -> None:
    _print(orjson.dumps({"tasks": len(asyncio.all_tasks())}).decode())


def _die_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    if os.getppid() == 1:
        sys.exit(1)


if __name__ == "__main__":
    main()
