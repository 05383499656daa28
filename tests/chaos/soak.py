"""The command of `make soak`: sends hundreds of turns a second for minutes, and watches for leaks.

There are many more channels than are used at once, so that they are passivated and woken all the
time. The engine is flat if the last quarter uses no more than a tolerance above the second one:
memory and threads by their medians, files and tasks by their minimum, since running turns use some.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import nats
import orjson
from nats.aio.msg import Msg

from tests.bench.children import module, running
from tests.chaos.engine import EngineProcess
from tests.chaos.ground import RunFolder
from tests.chaos.process import ProcessUsage
from tests.chaos.run import nats_server

CHANNELS = 1500
MESSAGE = "word " * 20
# A token stream without TLS takes its own connection, and the system keeps each port for a minute
# after it is closed: hundreds a second would use up the ports.
STREAMED = 0.1
PIECE_S = 0.1
REPORTS = 40
READY_LIMIT_S = 60.0
LAST_ANSWERS_LIMIT_S = 30.0
SHORTEST_USEFUL_S = 300.0
# How much the last quarter may use above the second one.
TOLERANCES = {"rss_mib": 8.0, "fds": 8.0, "threads": 2.0, "tasks": 8.0}
TYPICAL: dict[str, Callable[[list[float]], float]] = {
    "rss_mib": statistics.median,
    "threads": statistics.median,
    "fds": min,
    "tasks": min,
}


@dataclass
class Traffic:
    """What was sent and received. A refusal (`busy`) counts as an error."""

    sent: int = 0
    answers: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    open: set[str] = field(default_factory=set)

    async def on_msg(self, msg: Msg) -> None:
        message = orjson.loads(msg.data)
        if message["type"] == "llm_delta":
            return
        self.open.discard(message["request_id"])
        if message["type"] == "llm_error":
            self.errors[f"{message['code']}: {message['error']}"] += 1
        else:
            self.answers += 1


@click.command()
@click.option("--minutes", default=10.0, show_default=True)
@click.option("--rate", default=300, show_default=True, help="Turns a second.")
def main(minutes: float, rate: int) -> None:
    """Exit codes: 0 flat and everything answered, 1 not."""
    with tempfile.TemporaryDirectory(prefix="rosey-soak-") as folder:
        good = asyncio.run(soak(Path(folder), minutes * 60, rate))
    sys.exit(not good)


async def soak(folder: Path, seconds: float, rate: int) -> bool:
    run_folder, traffic = RunFolder(folder), Traffic()
    async with (
        nats_server(folder) as embedded,
        running("provider", module("fake_provider")) as provider,
    ):
        config = _config(orjson.loads(provider.ready)["url"])
        login = {"user": embedded.engine_user, "password": embedded.engine_password}
        nats_login = {"url": embedded.url, **login}
        run_folder.prepare({**config, "nats": nats_login, "http": {"port": 0}}, on_record=False)
        engine = await EngineProcess.spawn(run_folder.config, run_folder.log)
        client = await nats.connect(embedded.bot_url)
        try:
            await engine.start()
            if await engine.read_line(READY_LIMIT_S) is None:
                raise click.ClickException(run_folder.log.read_text()[-2000:])
            for subject in ("llm.response", "llm.error", "llm.stream"):
                await client.subscribe(subject, cb=traffic.on_msg)
            usages = await _load(engine, client, traffic, seconds, rate)
        finally:
            await client.close()
            await engine.kill()
    if seconds < SHORTEST_USEFUL_S:
        click.echo("Too short to tell: the garbage collector may wait for minutes.")
    return _report(usages, traffic)


async def _load(
    engine: EngineProcess, client: Any, traffic: Traffic, seconds: float, rate: int
) -> list[ProcessUsage]:
    """Send at a steady rate, and measure the process at intervals."""
    clock = asyncio.get_running_loop().time
    began_s, rng, usages = clock(), random.Random(1), [await ProcessUsage.of(engine)]
    click.echo(f"{'s':>6} {'sent':>9} {'received':>9} {'open':>6} {ProcessUsage.head()}")
    for number in range(1, REPORTS + 1):
        until_s = seconds * number / REPORTS
        while (spent_s := clock() - began_s) < until_s:
            while traffic.sent < spent_s * rate:
                await _send(client, traffic, rng)
            await asyncio.sleep(PIECE_S)
        usages.append(await ProcessUsage.of(engine))
        received = traffic.answers + traffic.errors.total()
        click.echo(
            f"{until_s:>6.0f} {traffic.sent:>9} {received:>9} {len(traffic.open):>6} {usages[-1]}"
        )
    for _ in range(int(LAST_ANSWERS_LIMIT_S / PIECE_S)):
        if not traffic.open:
            break
        await asyncio.sleep(PIECE_S)
    return usages


async def _send(client: Any, traffic: Traffic, rng: random.Random) -> None:
    traffic.sent += 1
    request_id = str(traffic.sent)
    traffic.open.add(request_id)
    message = {
        "channel_id": f"#room-{rng.randrange(CHANNELS)}",
        "username": f"user{rng.randrange(5)}",
        "request_id": request_id,
    }
    if rng.random() < STREAMED:
        more = {"action": "chat", "message": MESSAGE, "stream": True}
        await client.publish("llm.request", orjson.dumps(message | more))
    else:
        more = {"command": "chat", "args": "reset" if rng.random() < 0.02 else MESSAGE}
        await client.publish("rosey.command.chat", orjson.dumps(message | more))


def _report(usages: list[ProcessUsage], traffic: Traffic) -> bool:
    good = not traffic.open and not traffic.errors
    click.echo(f"sent {traffic.sent}, answers {traffic.answers}")
    click.echo(f"errors {traffic.errors.total()} (must be 0)")
    for error, times in traffic.errors.most_common(5):
        click.echo(f"  {times} times {error}")
    click.echo(f"never answered {len(traffic.open)} (must be 0)")
    for line, is_flat in _comparisons(usages):
        click.echo(line)
        good = good and is_flat
    click.echo("flat" if good else "NOT GOOD")
    return good


def _comparisons(usages: list[ProcessUsage]) -> Iterator[tuple[str, bool]]:
    quarter = len(usages) // 4
    for name, tolerance in TOLERANCES.items():
        values = [getattr(each, name) for each in usages]
        second = TYPICAL[name](values[quarter : 2 * quarter])
        last = TYPICAL[name](values[-quarter:])
        is_flat = last <= second + tolerance
        yield (
            f"{name:<8} second quarter {second:.1f}, last quarter {last:.1f}"
            f" (at most {tolerance:g} more): {'flat' if is_flat else 'GROWS'}",
            is_flat,
        )


def _config(provider_url: str) -> dict[str, Any]:
    return {
        "default_provider": "openai",
        "fallback_providers": [],
        "conversation": {"stream": False},
        "channels": {"passivate_after_s": 1.0, "snapshot_interval_s": 1.0},
        "log": {"level": "warning"},
        "providers.openai": {
            "base_url": f"{provider_url}/v1",
            "api_key": "sk-soak",
            "default_model": "ms-5",
        },
    }


if __name__ == "__main__":
    main()
