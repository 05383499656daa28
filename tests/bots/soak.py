"""The command of `make bot-soak`: people talk to the IRC bot while its engine is killed.

A real ngircd, the real `rosey-llm bot irc` and `rosey-llm run`, and a fake model that takes its
time. A witness in all channels sees what people ask and what the bot says, in the order of the
server: every question must be answered once, in order, with every word.
"""

from __future__ import annotations

import asyncio
import os
import random
import re
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import click
import tomlkit

from tests.bots.transcript import Transcript, answer_to
from tests.fakes.llm_server import Behaviour, LLMServer
from tests.support.command_line import COMMAND
from tests.support.irc_servers import IrcServer, Person
from tests.support.service_process import configuration

READY_LIMIT_S = 60.0
LAST_ANSWERS_LIMIT_S = 180.0
PAUSE_S = (1.0, 5.0)
LINES_PER_S = 25


@click.command()
@click.option("--minutes", default=10.0, show_default=True)
@click.option("--kills", default=5, show_default=True, help="SIGKILLs of the engine.")
@click.option("--people", default=20, show_default=True)
@click.option("--channels", default=5, show_default=True)
def main(minutes: float, kills: int, people: int, channels: int) -> None:
    """Exit codes: 0 every question was answered once, in order, whole; 1 not."""
    with tempfile.TemporaryDirectory(prefix="rosey-bot-soak-") as folder:
        transcript = asyncio.run(soak(Path(folder), minutes * 60, kills, people, channels))
    for line in transcript.report():
        click.echo(line)
    sys.exit(not transcript.is_good)


async def soak(folder: Path, seconds: float, kills: int, people: int, channels: int) -> Transcript:
    """Return what the witness saw."""
    folder.chmod(0o755)  # ngircd gives up its rights
    names = [f"#room{number}" for number in range(channels)]
    async with AsyncExitStack() as stack:
        llm = await stack.enter_async_context(LLMServer(reply=_reply))
        llm.plan(*(Behaviour(delay_s=0.1, gap_s=0.002) for _ in range(100_000)))
        server = await stack.enter_async_context(IrcServer(folder))
        (folder / "rosey-llm.toml").write_text(tomlkit.dumps(configuration(llm)))
        engine = await _engine(folder)
        try:
            await stack.enter_async_context(_bot(folder, server, names))
            witness = await stack.enter_async_context(Person.talking(server, "witness", *names))
            until_s = asyncio.get_running_loop().time() + seconds
            async with asyncio.TaskGroup() as tasks:
                waits = [
                    tasks.create_task(_person(server, number, names[number % channels], until_s))
                    for number in range(people)
                ]
                for kill in range(kills):
                    spread_s = seconds / (kills + 1)
                    await asyncio.sleep(spread_s * random.uniform(0.7, 1.0))
                    engine.kill()
                    await engine.wait()
                    engine = await _engine(folder)
                    click.echo(f"killed the engine {kill + 1} times", err=True)
        finally:
            engine.kill()
            await engine.wait()
    waited = [each for task in waits for each in task.result()]
    transcript = Transcript(witness.heard)
    transcript.notes = [
        f"kills of the engine {kills}, calls of the model {len(llm.prompts)}",
        f"wait: median {statistics.median(waited):.1f} s, longest {max(waited):.1f} s",
    ]
    return transcript


def _reply(body: dict[str, Any]) -> str:
    return answer_to(re.findall(r"q\d+-\d+", body["messages"][-1]["content"])[-1])


async def _person(server: IrcServer, number: int, channel: str, until_s: float) -> list[float]:
    """Ask until the time is up, sometimes twice at once; return the waits, in seconds."""
    rng, clock, waited, asked = random.Random(number), asyncio.get_running_loop().time, [], 0
    async with Person.talking(server, f"p{number}", channel) as person:
        while clock() < until_s:
            begun, begun_s = len(person.heard), clock()
            last = ""
            for _ in range(rng.choice((1, 1, 1, 2))):
                asked += 1
                last = f"q{number}-{asked}"
                person.say(f"!chat {last} please")
            await person.until(
                lambda last=last, begun=begun: any(  # type: ignore[misc]
                    f"end-of-{last}" in text.split() for _, _, text in person.heard[begun:]
                ),
                LAST_ANSWERS_LIMIT_S,
            )
            waited.append(clock() - begun_s)
            await asyncio.sleep(rng.uniform(*PAUSE_S))
    return waited


async def _engine(folder: Path) -> asyncio.subprocess.Process:
    with (folder / "engine.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *(COMMAND, "run"), cwd=folder, stdout=subprocess.PIPE, stderr=log
        )
    assert process.stdout is not None
    async with asyncio.timeout(READY_LIMIT_S):
        ready = await process.stdout.readline()
    assert b"is ready" in ready, (folder / "engine.log").read_text()[-2000:]
    return process


@asynccontextmanager
async def _bot(folder: Path, server: IrcServer, channels: list[str]) -> AsyncIterator[None]:
    """Run the bot during the block; at its beginning it is in all channels."""
    words = [word for channel in channels for word in ("--channel", channel)]
    process = await asyncio.create_subprocess_exec(
        *(COMMAND, "bot", "irc", "--server", server.address, "--rate", str(LINES_PER_S), *words),
        cwd=folder,
        stdout=subprocess.PIPE,
        env={**os.environ, "ROSEY_LLM_CONFIG": "rosey-llm.toml"},
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(READY_LIMIT_S):
            joined = 0
            while joined < len(channels):
                line = await process.stdout.readline()
                assert line, "The bot has ended."
                joined += b" is in #" in line
        yield
        assert process.returncode is None, "The bot has ended."
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(READY_LIMIT_S):
            await process.communicate()


if __name__ == "__main__":
    main()
