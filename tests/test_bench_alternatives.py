"""Tests of the benchmark beside what else authors use; nothing here is timed."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.bench import alternatives, others
from tests.bench.alternatives import CALLS, NAME, OURS, README, TURNS
from tests.bench.children import ChildFailed, alone, module, running
from tests.bench.figures import Plan, spread
from tests.bench.others.loop import PIECE
from tests.bench.record import PAGE, NotPublished, Record, place
from tests.fakes.llm_server import LLMServer
from tests.support.patience import WAIT_S

TINY = Plan(rounds=1, slice_s=0.0)
FEW = (2, 3)  # channels
SET_UP = pytest.mark.timeout(900)  # the first test downloads the other libraries
LOOP: dict[str, Any] = {
    **{"do": "loop", "kind": "closed", "how": {"model": "ms-0"}, "seconds": 0.0},
    **{"limit_s": WAIT_S, "channels": 2, "at_once": 2, "pids": {"asked": os.getpid()}},
}


@pytest.fixture(scope="module")
def other_python() -> str:
    """An environment with the pinned versions, kept in data/bench-cache."""
    alternatives.ENVIRONMENT.parent.mkdir(parents=True, exist_ok=True)
    return alternatives.environment()


@pytest.fixture
def kept(tmp_path: Path) -> Record:
    row = {"answers_a_second": 250.0, "cpu_us": 4000.0, "cpu_ratio": spread([9.0])}
    turns = dict.fromkeys(TURNS, row)
    result = {
        "turns": {"20 ms-0": turns, "200 ms-0": turns},
        "calls": dict.fromkeys(CALLS, row),
    }
    record = Record(tmp_path / "bench.json")
    record.add(NAME, result, TINY, {"load before": "0.6 (one minute)"}, 60.0)
    return record


async def _window(python: str, file: str, folder: Path, messages: int) -> list[dict[str, Any]]:
    """Return the prompt of the last of so many messages of one channel."""
    async with LLMServer(PIECE) as server:
        command = module("others.loop", file, server.url, str(folder / "own.db"))
        command[0] = python
        async with running(file, command) as child:
            await child.ask(**{**LOOP, "channels": 1, "at_once": 1, "rounds": messages})
        return server.prompts[messages - 1]


@pytest.mark.process
@pytest.mark.parametrize("file", OURS)
async def test_a_contestant_of_this_environment_answers_in_a_closed_loop(
    file: str, tmp_path: Path
) -> None:
    async with running("fake provider", module("fake_provider")) as provider:
        url = provider.ready.partition('"url":"')[2].rstrip('"}')
        async with running(file, module("others.loop", file, url, str(tmp_path / "a.db"))) as child:
            figures = await child.ask(**LOOP)
    assert figures["answers_a_second"] > 0
    assert figures["cpu_us"] > 0


@pytest.mark.process
async def test_the_engine_shows_the_model_the_window_that_all_contestants_show(
    tmp_path: Path,
) -> None:
    _check(await _window(sys.executable, "own", tmp_path, others.WINDOW))


@SET_UP
@pytest.mark.real
@pytest.mark.parametrize("file", [file for file in TURNS.values() if file not in OURS])
async def test_every_alternative_shows_the_model_the_same_window(
    file: str, tmp_path: Path, other_python: str
) -> None:
    _check(await _window(other_python, file, tmp_path, others.WINDOW))


def _check(prompt: list[dict[str, Any]]) -> None:
    """Check that it is the system prompt and a full window that ends with the new message."""
    spoken = (["user", "assistant"] * others.WINDOW)[: others.WINDOW]
    assert [each["role"] for each in prompt] == ["system", *spoken]
    assert prompt[0]["content"].strip() == others.SYSTEM.strip()
    assert prompt[-1]["content"].endswith(others.TEXT)


@SET_UP
@pytest.mark.real
async def test_the_whole_section_works_on_tiny_numbers_and_fills_its_tables(
    tmp_path: Path, other_python: str
) -> None:
    result = await alternatives.alternatives(tmp_path, TINY, FEW)
    assert list(result["turns"]) == ["2 ms-0", "3 ms-0", "2 ms-200", "3 ms-200"]
    assert all(rows.keys() == TURNS.keys() for rows in result["turns"].values())
    assert result["calls"].keys() == CALLS.keys()


@pytest.mark.process
async def test_a_wrong_answer_of_a_contestant_ends_the_benchmark(tmp_path: Path) -> None:
    async with LLMServer("something else") as server:
        command = module("others.loop", "own", server.url, str(tmp_path / "own.db"))
        async with running("own", command) as child:
            with pytest.raises(ChildFailed, match="not the provider's answer: 'something else'"):
                await child.ask(**LOOP)


@pytest.mark.process
async def test_the_others_are_stopped_while_one_contestant_is_measured() -> None:
    fake = module("fake_provider")
    async with running("one", fake) as one, running("other", fake) as other:
        with alone(one, [one, other]):
            await asyncio.to_thread(os.waitid, os.P_PID, other.pid, os.WSTOPPED | os.WNOWAIT)
            at_once = os.WSTOPPED | os.WNOWAIT | os.WNOHANG
            assert await asyncio.to_thread(os.waitid, os.P_PID, one.pid, at_once) is None
        await asyncio.to_thread(os.waitid, os.P_PID, other.pid, os.WCONTINUED | os.WNOWAIT)


def test_the_readme_and_the_page_have_a_place_for_the_comparison() -> None:
    for path in (README, PAGE):
        assert all(line in path.read_text() for line in place(NAME))


def test_each_contestant_has_a_line_in_the_tables(kept: Record) -> None:
    for name in TURNS:
        assert any(line.startswith(f"| {name} | ") for line in alternatives.summary(kept))
        assert sum(f" {name} | " in line for line in alternatives.page_lines(kept)) >= 2
    assert any("| 4,000 us, 9 times as much | 250 |" in line for line in alternatives.summary(kept))


def test_a_comparison_from_a_busy_machine_is_published_only_if_told(
    kept: Record, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs").mkdir()
    for path in (README, PAGE):
        path.write_text("\nold\n".join(place(NAME)))
    with pytest.raises(NotPublished, match=r"above 0\.5, before alternatives"):
        alternatives.publish(kept, busy=False)
    assert "old" in README.read_text()
    alternatives.publish(kept, busy=True)
    assert "openai SDK + aiosqlite" in README.read_text()
    assert "openai SDK + aiosqlite" in PAGE.read_text()


def test_every_version_that_the_tables_name_is_pinned() -> None:
    assert alternatives.facts()["alternatives"].startswith("openai ")
