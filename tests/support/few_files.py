"""A service that runs out of file descriptors: `python -m tests.support.few_files ...`.

Arguments: folder, provider, its base_url, whether answers are streamed ("yes" or "no").
It asks in many channels at once. It prints "error" for each channel that heard one, and at the end
one line of JSON: the outcomes, and that of a last question after all others.
"""

from __future__ import annotations

import asyncio
import resource
import sys
from collections import Counter
from pathlib import Path

import orjson
import uvloop

from tests.fakes.llm_server import LLMServer
from tests.support.patience import WAIT_S
from tests.support.service_harness import House, ReceivedMessage

FILES = 64
CHANNELS = 500


async def main(folder: Path, provider: str, base_url: str, stream: bool) -> None:
    async with House(folder, LLMServer()) as house:
        house.config |= {
            "default_provider": provider,
            "conversation": {"stream": stream},
            "providers": {provider: {"base_url": base_url, "max_concurrency": FILES}},
        }
        await house.open()
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, hard))
        asking = (_ask(house, f"#{number}") for number in range(CHANNELS))
        outcomes = await asyncio.gather(*asking)
        last = await house.bot.ask("hello", "#last")
    report = {
        "outcomes": Counter(_kind(outcome) for outcome in outcomes),
        "waits": sorted({outcome.get("retry_after_s") or 0 for outcome in outcomes}),
        "error": next((each["error"] for each in outcomes if "error" in each), ""),
        "last": last.get("content"),
    }
    print(orjson.dumps(report).decode(), flush=True)  # noqa: T201 -- the parent reads it


async def _ask(house: House, channel: str) -> ReceivedMessage:
    outcome = await house.bot.ask("hello", channel, timeout=WAIT_S)
    if "error" in outcome:
        print("error", flush=True)  # noqa: T201 -- the parent reads it
    return outcome


def _kind(outcome: ReceivedMessage) -> str:
    return str(outcome.get("code") or outcome.get("content"))


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(Path(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4] == "yes"))
