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
from tests.bench.figures import Plan, Result, alternate, medians, ratio, table, text

README = Path("README.md")
NAME = "alternatives"  # of the section, and of its place in the documents
OTHERS = Path(__file__).parent / "others"
ENVIRONMENT = record.CACHE / "alternatives"
VERSIONS = "openai aiosqlite openai-agents langgraph langgraph-checkpoint-sqlite langchain-openai"
VERSIONS += " litellm aiohttp"
CHANNELS = (20, 200)
MODELS = {"ms-0": "at once", "ms-200": "200 ms"}
FILLING = 6  # messages in each channel before the first slice: then every window is full
CALLS_AT_ONCE = 20
ROUNDS = 5  # at most: processor time varies little
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
    return {NAME: ", ".join(f"{name} {pins[name]}" for name in VERSIONS.split())}


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
        url, started = orjson.loads(provider.ready)["url"], dict[str, Child]()
        for file in (*TURNS.values(), *CALLS.values()):
            command = module("others.loop", file, url, str(folder / f"{file}.db"))
            if file not in OURS:
                command[0] = python
            started[file] = await stack.enter_async_context(running(file, command))

        async def ask(file: str, _: int, at_once: int, model: str, **more: Any) -> dict[str, Any]:
            loop = {"channels": at_once, "at_once": at_once, **more}
            child = started[file]
            with alone(child, started.values()):
                pids = {"asked": child.pid}
                return await child.ask(
                    "loop", kind="closed", how={"model": model}, pids=pids, **loop
                )

        async def compared(files: Mapping[str, str], at_once: int, model: str) -> Result:
            loop: dict[str, Any] = {"at_once": at_once, "model": model, "seconds": plan.slice_s}
            measures = {name: partial(ask, file, **loop) for name, file in files.items()}
            slices = await alternate(measures, min(plan.rounds, ROUNDS))
            return {
                name: {
                    **medians(found, "answers_a_second", "cpu_us"),
                    "cpu_ratio": ratio("cpu_us", found, slices[OWN]),
                }
                for name, found in slices.items()
            }

        for file in started:
            await ask(file, 0, at_once=max(counts), model="ms-0", seconds=0, rounds=FILLING)
        return {
            "turns": {
                f"{count} {model}": await compared(TURNS, count, model)
                for model in MODELS
                for count in counts
            },
            "calls": await compared(CALLS, CALLS_AT_ONCE, "ms-0"),
        }


def publish(kept: record.Record, busy: bool) -> None:
    """Write the tables into the README and the page. Raise NotPublished."""
    kept.check_load([NAME], busy)
    record.write(README, NAME, summary(kept))
    record.write(record.PAGE, NAME, page_lines(kept))


def summary(kept: record.Record) -> Iterator[str]:
    """Yield the README's table: processor time with the largest number of channels at once."""
    rows = kept.results[NAME]["turns"][f"{CHANNELS[-1]} ms-0"]

    def cost(name: str) -> str:
        times = f", {text(rows[name]['cpu_ratio']['median'])} times as much" if name != OWN else ""
        return text(rows[name]["cpu_us"], "us") + times

    return table(
        "in your program | processor time of a durable turn | turns/s | what is left to you",
        (
            (name, cost(name), text(row["answers_a_second"]), LEFT[name])
            for name, row in rows.items()
        ),
    )


def page_lines(kept: record.Record) -> Iterator[str]:
    """Yield the page's tables."""
    found = kept.results[NAME]

    def cells(name: str, row: Mapping[str, Any]) -> Sequence[str]:
        return name, text(row["answers_a_second"]), text(row["cpu_us"], "us")

    def turns() -> Iterator[Sequence[str]]:
        for case, rows in found["turns"].items():
            channels, model = case.split()
            for name, row in rows.items():
                over = "" if name == OWN else text(row["cpu_ratio"])
                goal = f">= {GOALS[name]}" if name in GOALS else ""
                yield channels, MODELS[model], *cells(name, row), over, goal

    head = "channels | model | in process | turns/s | time of a turn | over rosey-llm's | goal"
    yield from table(head, turns())
    yield ""
    yield from table(
        f"a call; {CALLS_AT_ONCE} at the same time | calls/s | time of a call | goal",
        (
            (*cells(name, row), f"<= {CALL_GOAL_US} us" if name == OWN else "")
            for name, row in found["calls"].items()
        ),
    )
    yield ""
    yield from record.runs(kept, [NAME])


def _requirements() -> str:
    return (OTHERS / "requirements.txt").read_text()
