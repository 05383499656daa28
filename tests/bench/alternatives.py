"""The engine in process beside what bot authors use instead: `tests/bench/others`."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import venv
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

import orjson

from tests.bench import record
from tests.bench.children import Child, alone, module, running
from tests.bench.figures import Plan, Result, alternate, medians, ratio, text

README = Path("README.md")
BEGIN, END = "<!-- alternatives: written by make bench -->", "<!-- end of the alternatives -->"
OTHERS = Path(__file__).parent / "others"
ENVIRONMENT = record.CACHE / "alternatives"
VERSIONS = "openai aiosqlite openai-agents langgraph langgraph-checkpoint-sqlite langchain-openai"
VERSIONS += " litellm aiohttp"
CHANNELS = (20, 200)
MODELS = {"ms-0": "at once", "ms-200": "200 ms"}
FILLING = 6  # messages in each channel before the first slice: then every window is full
CALLS_AT_ONCE = 20
ROUNDS = 5  # at most: processor time varies little
LOOP_LIMIT_S = 300.0
OWN = "rosey-llm"
TURNS = {
    OWN: "own",
    "openai SDK + aiosqlite": "script",
    "OpenAI Agents SDK + SQLiteSession": "agents_sdk",
    "LangGraph + AsyncSqliteSaver": "langgraph_saver",
}
CALLS = {
    OWN: "calls.own",
    "openai SDK": "calls.openai_sdk",
    "litellm SDK": "calls.litellm_sdk",
    "aiohttp by hand": "calls.aiohttp_by_hand",
}
OURS = ("own", "calls.own", "calls.aiohttp_by_hand")  # these need no more than the engine does
# Processor time of a turn over the engine's, and of the engine's call: what is wanted.
GOALS = dict(zip(list(TURNS)[1:], (10, 22, 22), strict=True))
CALL_GOAL_US = 90
# What the author still has to write, for the README.
ALL = "order within a channel, answers that a crash cut off, limits"
LEFT = {
    OWN: "",
    "openai SDK + aiosqlite": f"{ALL}, personas, a second provider, proof, erasure",
    "OpenAI Agents SDK + SQLiteSession": f"{ALL}, a persona for each channel, proof, erasure",
    "LangGraph + AsyncSqliteSaver": f"{ALL}, a persona for each channel, proof, erasure",
}


def facts() -> dict[str, str]:
    pins = dict(line.split("==") for line in _requirements().splitlines() if "==" in line)
    return {"alternatives": ", ".join(f"{name} {pins[name]}" for name in VERSIONS.split())}


def environment() -> str:
    """Return the Python of the alternatives' environment, made if it is not there yet."""
    stamp, wanted = ENVIRONMENT / "installed", f"{sys.version}\n{_requirements()}"
    python = ENVIRONMENT / "bin" / "python"
    if not (stamp.exists() and stamp.read_text() == wanted):
        print(f"Setting up {ENVIRONMENT}, once (500 MB) ...", flush=True)
        venv.create(ENVIRONMENT, clear=True, symlinks=True, with_pip=True)
        pip = [sys.executable, "tests/pip_progress.py", str(ENVIRONMENT / "bin" / "pip")]
        pip += ["--disable-pip-version-check", "install", "--no-deps", "-r"]
        subprocess.run([*pip, str(OTHERS / "requirements.txt")], check=True)
        stamp.write_text(wanted)
    return str(python)


async def alternatives(folder: Path, plan: Plan, counts: Sequence[int] = CHANNELS) -> Result:
    """Measure processor time of durable turns and calls, each contestant in its own process.

    All have full windows of the same size, WAL and FULL, and asyncio's own loop. While one works,
    the others are stopped. counts: of channels.

    turns: by channels and model, then by contestant; calls: by contestant. cpu_ratio: processor
    time over the engine's, round by round.
    """
    python = await asyncio.to_thread(environment)
    async with AsyncExitStack() as stack:
        provider = await stack.enter_async_context(
            running("fake provider", module("fake_provider"))
        )
        url = orjson.loads(provider.ready)["url"]

        async def started(file: str) -> Child:
            command = module("others.loop", file, url, str(folder / f"{file}.db"))
            if file not in OURS:
                command[0] = python
            return await stack.enter_async_context(running(file, command))

        speakers = {name: await started(file) for name, file in TURNS.items()}
        callers = {name: await started(file) for name, file in CALLS.items()}
        everyone = [*speakers.values(), *callers.values()]

        async def ask(child: Child, question: Mapping[str, Any], _: int = 0) -> dict[str, Any]:
            with alone(child, everyone):
                return await child.ask(question, LOOP_LIMIT_S)

        async def compared(children: Mapping[str, Child], channels: int, model: str) -> Result:
            question = {"channels": channels, "model": model, "seconds": plan.slice_s}
            measures = {name: partial(ask, each, question) for name, each in children.items()}
            slices = await alternate(measures, min(plan.rounds, ROUNDS))
            return {
                name: {
                    **medians(found, "turns_a_second", "cpu_us"),
                    "cpu_ratio": ratio("cpu_us", found, slices[OWN]),
                }
                for name, found in slices.items()
            }

        filling = {"channels": max(counts), "model": "ms-0", "seconds": 0, "rounds": FILLING}
        for each in everyone:
            await ask(each, filling)
        return {
            "turns": {
                f"{channels} {model}": await compared(speakers, channels, model)
                for model in MODELS
                for channels in counts
            },
            "calls": await compared(callers, CALLS_AT_ONCE, "ms-0"),
        }


def publish(kept: record.Record, busy: bool) -> None:
    """Write the tables into the README and the page. Raise NotPublished."""
    record.check_load(kept, ["alternatives"], busy)
    for path, lines in ((README, summary(kept)), (record.PAGE, table(kept))):
        path.write_text(record.replaced(path.read_text(), path, BEGIN, END, lines))
    print(f"Written: the comparison in {README} and {record.PAGE}.")


def summary(kept: record.Record) -> Iterator[str]:
    """Yield the README's table: processor time with the largest number of channels at once."""
    rows = kept.results["alternatives"]["turns"][f"{CHANNELS[-1]} ms-0"]
    yield "| in your program | processor time of a durable turn | turns/s | what is left to you |"
    yield "|---|---|---|---|"
    for name, row in rows.items():
        times = "" if name == OWN else f", {text(row['cpu_ratio']['median'])} times as much"
        figures = f"{text(row['cpu_us'], 'us')}{times} | {text(row['turns_a_second'])}"
        yield f"| {name} | {figures} | {LEFT[name]} |"


def table(kept: record.Record) -> Iterator[str]:
    """Yield the page's tables."""
    found = kept.results["alternatives"]
    yield "| channels | model | in process | turns/s | time of a turn | over rosey-llm's | goal |"
    yield "|---|---|---|---|---|---|---|"
    for case, rows in found["turns"].items():
        channels, model = case.split()
        for name, row in rows.items():
            over = "" if name == OWN else text(row["cpu_ratio"])
            figures = f"{text(row['turns_a_second'])} | {text(row['cpu_us'], 'us')} | {over}"
            goal = f">= {GOALS[name]}" if name in GOALS else ""
            yield f"| {channels} | {MODELS[model]} | {name} | {figures} | {goal} |"
    yield ""
    yield f"| a call; {CALLS_AT_ONCE} at the same time | calls/s | time of a call | goal |"
    yield "|---|---|---|---|"
    for name, row in found["calls"].items():
        goal = f"<= {CALL_GOAL_US} us" if name == OWN else ""
        yield f"| {name} | {text(row['turns_a_second'])} | {text(row['cpu_us'], 'us')} | {goal} |"
    yield ""
    yield from record.runs(kept, ["alternatives"])


def _requirements() -> str:
    return (OTHERS / "requirements.txt").read_text()
