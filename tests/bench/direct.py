"""A process that calls the provider directly, on a schedule: no NATS, no engine.

`python -m tests.bench.direct PROVIDER_URL` writes `{}` when it is ready. Its questions are those
of the load's `open_loop`, with a `model` instead of subject and body.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import time
from typing import Any

import uvloop

from tests.bench.children import questions, write_line
from tests.bench.figures import percentile
from tests.bench.model_call import MESSAGE_BYTES, ModelCall, tuned_session
from tests.bench.pace import Pace, schedule


async def open_loop(
    call: ModelCall, *, model: str, rate: float, seconds: float, seed: int
) -> dict[str, Any]:
    latencies_ms: list[float] = []
    text = "m" * MESSAGE_BYTES

    async def ask(due: float) -> None:
        await call.whole(model, text)
        latencies_ms.append((time.perf_counter() - due) * 1000)

    async with asyncio.TaskGroup() as group:
        pace = Pace(schedule(rate, seconds, seed), lambda _, due: _start(group, ask(due)))
        await pace.keep()
    return {
        "answered": len(latencies_ms),
        "p50_ms": percentile(latencies_ms, 50),
        "p99_ms": percentile(latencies_ms, 99),
        "late_p99_ms": percentile(pace.lateness_s, 99) * 1000,
    }


def _start(group: asyncio.TaskGroup, asking: Any) -> None:
    group.create_task(asking)


async def main(provider_url: str) -> None:
    async with tuned_session() as session:
        call = ModelCall(session, provider_url)
        gc.collect()
        gc.freeze()
        gc.set_threshold(100_000, 50, 50)
        write_line({})
        async for question in questions():
            try:
                write_line(await open_loop(call, **question))
            except ExceptionGroup as exc:
                write_line({"error": repr(exc.exceptions[0])})


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(*sys.argv[1:]))
