"""The load of a contestant in its own process, with nothing but Python.

`python -m tests.bench.others.loop NAME URL DATABASE` writes `{}` when it is open. NAME is a file of
this folder, or a file and one of its functions. Then each line of JSON is a closed loop, whose
figures it answers.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import resource
import sys
import time

from tests.bench.others import TEXT, Turn

PIECE = "twenty bytes a piece"  # every answer of the fake provider consists of it


async def closed_loop(
    turn: Turn, *, channels: int, model: str, seconds: float, rounds: int = 2
) -> dict[str, float]:
    """Let all channels speak until each has `rounds` answers and the time is over.

    It counts from when there is an answer for each channel, to the end of a whole round of answers.
    cpu_us: processor time of this process, with all its threads, for each answer.
    """
    began, answered, counted = time.perf_counter(), 0, 0
    first, last = (0.0, 0.0), (0.0, 0.0)

    async def speak(channel: str) -> None:
        nonlocal answered, counted, first, last
        while not counted:
            content = await turn(channel, TEXT, model)
            assert content.startswith(PIECE), f"not the provider's answer: {content[:80]!r}"
            answered += 1
            now = time.perf_counter(), time.process_time()
            whole, more = divmod(answered, channels)
            if answered == channels:
                first = now
            elif not (more or counted) and whole >= rounds and now[0] - began >= seconds:
                counted, last = answered - channels, now

    async with asyncio.TaskGroup() as group:
        for number in range(channels):
            group.create_task(speak(f"channel-{number}"))
    return {
        "turns_a_second": counted / (last[0] - first[0]),
        "cpu_us": (last[1] - first[1]) / counted * 1e6,
    }


async def main(name: str, url: str, database: str) -> None:
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # some open a file for each channel
    file, _, function = name.partition(".")
    module = importlib.import_module(f"tests.bench.others.{file}")
    async with getattr(module, function or "open_turns")(url, database) as turn:
        print("{}", flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            try:
                print(json.dumps(await closed_loop(turn, **json.loads(line))), flush=True)
            except ExceptionGroup as exc:  # the benchmark raises it as ChildFailed
                print(json.dumps({"error": repr(exc.exceptions[0])}), flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
