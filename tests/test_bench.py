"""Tests of how the benchmark computes and publishes results; nothing here is timed."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from functools import partial
from pathlib import Path
from typing import Any

import nats
import orjson
import pytest
from nats.aio.msg import Msg

from engine.actors.conversation_cache import ConversationCache
from engine.traffic.embedded.server import BotRights, EmbeddedNats
from storage import snapshots, verification
from storage.queries.reader import open_reader
from storage.writer.database import Database
from tests.bench import closed_loops, figures, machine
from tests.bench.__main__ import NAMES
from tests.bench.figures import Plan, Result, alternate, latencies, percentile, ratio, row, spread
from tests.bench.goals import GOALS, Goal, verdicts
from tests.bench.load import Asker, Load, LoadFailed
from tests.bench.pacing import closed_loop, keep_pace, open_loop, schedule, visit
from tests.bench.record import (
    NAME,
    PAGE,
    NotPublished,
    Record,
    page_lines,
    place,
    publish,
    write,
)
from tests.bench.store import grown
from tests.bench.store.grown import WINDOW, Size
from tests.support.patience import WAIT_S

FACTS = {"machine": "a machine"}
ONE = spread([1.0])
TAKEN = latencies([1000.0, 2000.0])


def a_slice(answers_a_second: float) -> dict[str, float]:
    figures = {"p50_ms": 5.0, "p99_ms": 9.0, "cpu_us": 200.0, "deltas_an_answer": 0.0}
    return {"answers_a_second": answers_a_second, **figures}


ROW = row([a_slice(100.0 * n) for n in (1, 2, 3)], [a_slice(400.0)] * 3)
CHUNK = {"cpu_us": 30.0, "chunk_us": 20.0, "first_us": 500.0}
GROWN = Size(channels=30, exchanges=7)


def a_rows(*sizes: int) -> Result:
    search = dict.fromkeys(("common words", "rare words", "two words"), TAKEN)
    figures = {"turn": TAKEN, "wake": TAKEN, "search": search, "start_s": ONE}
    per_row = {"bytes_a_row": 900.0, "indexed_bytes_a_row": 60.0}
    return {"rows": {str(n): {**figures, **per_row} for n in sizes}}


# What the goals need of each section.
RESULTS: dict[str, Result] = {
    "channels": {
        "rows": {
            str(n): dict.fromkeys(
                ("default_s", "streamed_s", "whole_s", "bare_s", "one_at_a_time_s"), 0.3
            )
            for n in closed_loops.BURSTS
        }
    },
    "throughput": {
        "rows": dict.fromkeys(("bare loop", "engine", "engine, streamed"), ROW),
        **dict.fromkeys(("streamed", "over_plain"), ONE),
    },
    "latency": {
        "rows": {rate: {"engine": {"p50_ms": 51.0, "p99_ms": 55.0}} for rate in ("500", "1")},
        **dict.fromkeys(("added_ms", "added_syncs", "p99_over_direct"), ONE),
    },
    "pauses": {"calls": 2, "opened": 0},
    "marks": {"rows": {rate: {"share": 2.0} for rate in ("5", "50")}},
    "streams": {
        "chunks_a_second": {"providers": 1000.0, "engine": 900.0},
        **{key: {"engine": CHUNK, "over_bare": ONE} for key in ("paced", "at_once")},
        **dict.fromkeys(("assembled", "relayed", "relayed_over_reading"), ONE),
    },
    "fairness": {
        "with": {"p99_ms": 30.0},
        "flooder": {"p99_ratio": ONE, "turns": 8},
        "p99_ratio": ONE,
    },
    "overload": {"longest": {"busy_p99_ms": 20}, "rss_growth_mib": 1.0, "over_capacity": 1.0},
    "limits": {"ratio": ONE, "p99_ratio": ONE, "flooded": {"p99_ms": 24.0}},
    "growth": {"rows": {str(n): {"rss_mib": 70.0, "engine": ROW} for n in closed_loops.GROWTH}},
    "slow_disk": {"rows": {"engine": ROW}, **dict.fromkeys(("added_ms", "added_syncs"), ONE)},
    "rows": a_rows(10_000, 1_000_000),
}


@pytest.fixture
def kept(tmp_path: Path) -> Record:
    record = Record(tmp_path / "bench.json")
    for section, result in RESULTS.items():
        record.add(section, result, Plan(), FACTS, 60.0)
    return record


def test_a_ratio_is_taken_within_each_round() -> None:
    slices, yardstick = (
        [{"rate": rate} for rate in rates] for rates in ([10, 40, 90], [10, 20, 30])
    )
    assert ratio("rate", slices, yardstick)["median"] == 2.0


def test_the_quartiles_of_one_round_are_its_only_value() -> None:
    assert spread([3.0]) == spread([3.0, 3.0, 3.0])


def test_a_percentile_is_a_value_that_was_measured() -> None:
    assert percentile(list(range(100)), 99) == 99
    assert percentile([5.0, 1.0, 3.0], 50) == 3.0
    assert percentile([], 50) == 0.0


def test_a_schedule_has_one_moment_in_each_interval_and_is_the_same_for_each_contestant() -> None:
    moments = schedule(100, 2.0, seed=1)
    assert [int(moment * 100) for moment in moments] == list(range(200))
    assert moments == schedule(100, 2.0, seed=1) != schedule(100, 2.0, seed=2)


async def test_every_moment_of_a_schedule_is_kept_in_order_and_not_before_it_is_due() -> None:
    kept: list[int] = []
    late_ms = await keep_pace(schedule(2000, 0.05, seed=3), lambda number, _: kept.append(number))
    assert kept == list(range(100))
    assert min(late_ms) >= 0


async def test_a_closed_loop_counts_whole_rounds_after_the_first() -> None:
    asked: list[str] = []

    async def ask(channel: str) -> bool:
        asked.append(channel)
        return False

    figures = await closed_loop(
        ask, channels=6, at_once=3, seconds=0.0, rounds=4, pids={"asked": os.getpid()}
    )
    assert len(asked) >= 12
    assert set(asked) == {f"loop-{number}" for number in range(6)}  # they go round
    assert figures["answers_a_second"] > 0
    assert figures["busy"] == {}


async def test_an_open_loop_counts_refusals_apart() -> None:
    async def ask(channel: str) -> bool:
        return channel == "open-0"

    found = await open_loop(ask, channels=4, rate=2000, seconds=0.02, seed=1)
    assert (found["answered"], found["busy"]) == (30, 10)


async def test_a_visit_asks_once_in_each_channel() -> None:
    asked: list[str] = []

    async def ask(channel: str) -> bool:
        asked.append(channel)
        return False

    found = await visit(ask, channels=["a", "b", "c"], at_once=2)
    assert sorted(asked) == ["a", "b", "c"]
    assert len(found["taken_us"]) == 3


class _Room(Asker):
    """An asker whose questions are answered in their order, at most two at once of one person."""

    def __init__(self) -> None:
        self.waiting: list[tuple[bytes, asyncio.Future[bool]]] = []

    async def ask(self, subject: str, body: bytes, channel: str) -> bool:
        if [asked for asked, _ in self.waiting].count(body) == 2:
            return True
        answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self.waiting.append((body, answer))
        return await answer

    async def answer_all(self) -> None:
        while self.waiting:
            self.waiting.pop(0)[1].set_result(False)
            await asyncio.sleep(0)


async def test_who_stands_behind_a_flooder_counts_the_turns_until_the_own_answer() -> None:
    room = _Room()
    load = Load(room)
    how = {"subject": "bench.in", "body": {"action": "chat"}}
    assert await load.crowd(how=how, at_once=10) == {"turns": 0}
    async with asyncio.timeout(WAIT_S):
        while len(room.waiting) < 3:  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0)
    _, answers = await asyncio.gather(room.answer_all(), load.crowd(how=how, at_once=0))
    assert answers == {"turns": 2}


@asynccontextmanager
async def _asker(folder: Path, answer: bytes) -> AsyncIterator[tuple[Asker, list[Any]]]:
    """Yield an asker, and its questions; each gets this answer."""
    questions: list[Any] = []
    rights = BotRights(publish=["bench.>"], subscribe=["bench.>"])
    async with EmbeddedNats(folder, 0, rights=rights, is_open=True) as server:
        client = await nats.connect(server.url)

        async def reply(msg: Msg) -> None:
            questions.append(orjson.loads(msg.data))
            request_id = questions[-1]["request_id"].encode()
            await client.publish("bench.out.response", answer.replace(b"ID", request_id))

        await client.subscribe("bench.in", cb=reply)
        await client.flush()
        asker = Asker()
        await asker.connect(server.url, ["bench.out.>"])
        yield asker, questions
        await client.close()


@pytest.mark.process
async def test_a_question_is_the_body_with_a_channel_and_an_id_of_its_own(tmp_path: Path) -> None:
    answer = b'{"type":"llm_response","request_id":"ID"}'
    async with _asker(tmp_path, answer) as (asker, questions):
        for channel in "ab":
            assert not await asker.ask("bench.in", b'{"action":"chat"', channel)
    assert [(each["action"], each["channel_id"]) for each in questions] == [
        ("chat", "a"),
        ("chat", "b"),
    ]
    assert len({each["request_id"] for each in questions}) == 2


@pytest.mark.process
@pytest.mark.parametrize(
    "answer",
    [
        b'{"type":"llm_error","code":"internal","request_id":"ID"}',
        b'{"type":"llm_response","request_id":"r2"}',
    ],
)
async def test_an_error_or_an_unexpected_answer_ends_the_measurement(
    answer: bytes, tmp_path: Path
) -> None:
    async with _asker(tmp_path, answer) as (asker, _):
        for _ in range(2):
            with pytest.raises(LoadFailed, match="not an answer"):
                await asker.ask("bench.in", b'{"action":"chat"', "a")


def test_a_goal_is_an_upper_or_a_lower_limit() -> None:
    results = {"s": {"few": 3.0, "many": {"low": 0.7, "median": 0.8, "high": 0.9}}}
    few = Goal("s", "few", "ms", "<= 4", "few")
    many = Goal("s", "many", "", ">= 0.85", "many")
    assert [each.word for each in verdicts(results, [few, many])] == ["met", "MISSED"]
    assert [each.measured for each in verdicts(results, [few, many])] == ["3 ms", "0.8 [0.7-0.9]"]


def test_a_goal_without_a_result_has_no_verdict() -> None:
    assert not list(verdicts({}, GOALS))
    assert {goal.section for goal in GOALS} <= set(NAMES)


def test_every_goal_of_the_measured_sections_finds_its_figure(kept: Record) -> None:
    found = [each.goal for each in verdicts(kept.results)]
    assert found == [goal for goal in GOALS if goal.section in RESULTS]


def test_a_section_measured_again_replaces_only_its_own_results(kept: Record) -> None:
    again = Record(kept.path)
    again.add("rows", a_rows(10_000_000), Plan(), FACTS, 60.0)
    read = Record(kept.path)
    assert list(read.results["rows"]["rows"]) == ["10000000"]
    assert read.results["growth"] == kept.results["growth"]


def test_a_result_is_shown_with_a_line_for_each_record_and_its_path() -> None:
    result = {"rounds": 3, "ratio": {"low": 0.7, "median": 0.8, "high": 0.9}}
    lines = figures.lines({**result, "rows": {"10": {"s": 1234.5}}}, "x")
    assert [" ".join(line.split()) for line in lines] == [
        "x rounds 3 ratio 0.8 [0.7-0.9]",
        "x.rows.10 s 1,234",
    ]


def test_the_page_has_a_place_for_the_results_and_keeps_everything_around_it(
    kept: Record, tmp_path: Path
) -> None:
    page, (begin, end) = tmp_path / "page.md", place(NAME)
    page.write_text(f"above\n{begin}\nformer\n{end}\nbelow")
    write(page, NAME, page_lines(kept))
    published = page.read_text()
    assert published.startswith(f"above\n{begin}\n")
    assert published.endswith(f"{end}\nbelow")
    assert "former" not in published
    write(page, NAME, page_lines(kept))
    assert page.read_text() == published
    page.write_text("a page")
    with pytest.raises(NotPublished, match="lacks the line"):
        write(page, NAME, page_lines(kept))


def test_the_page_shows_every_figure_that_has_a_name_here_and_no_other() -> None:
    begin, end = place(NAME)
    table = PAGE.read_text().partition(begin)[2].partition(end)[0]
    shown = [line.split(" | ")[:2] for line in table.splitlines() if line.startswith("| `")]
    assert [(section, name.partition(", at ")[0]) for section, name in shown] == [
        (f"| `{goal.section}`", goal.name) for goal in GOALS
    ]


def test_incomplete_results_are_not_published(
    kept: Record, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NotPublished, match=r"no results of indexing, checkpoints, .*Measure"):
        publish(kept, NAMES)


def test_results_from_a_busy_machine_are_published_only_if_told(kept: Record) -> None:
    kept.add("growth", RESULTS["growth"], Plan(), {"load before": "0.5 (one minute)"}, 60.0)
    kept.add("rows", RESULTS["rows"], Plan(), {"load before": "0.6 (one minute)"}, 60.0)
    with pytest.raises(NotPublished, match=r"0\.6, above 0\.5, before rows\. Measure it again"):
        kept.check_load(NAMES, busy=False)
    kept.check_load(NAMES, busy=True)


@pytest.mark.process
def test_the_facts_of_a_run_name_the_load_and_how_the_interpreter_was_built(tmp_path: Path) -> None:
    facts = machine.facts(tmp_path)
    assert float(facts["load before"].split()[0]) >= 0
    assert ", built with" in facts["Python"]


def test_the_page_names_the_facts_of_each_run_with_its_sections(kept: Record) -> None:
    kept.add("rows", a_rows(10_000_000), Plan(full=True), {"machine": "another"}, 90.0)
    first, second = (line for line in page_lines(kept) if line.startswith("- "))
    assert first.startswith("- `channels`, `throughput`, ")
    assert first.endswith("UTC; machine a machine")
    assert second.startswith("- `rows`: ")
    assert second.endswith("UTC, `--full`; machine another")


def test_a_goal_is_judged_at_the_largest_size_that_was_measured_and_names_it() -> None:
    def names(*sizes: int) -> set[str]:
        results = {"rows": orjson.loads(orjson.dumps(a_rows(*sizes)))}
        return {each.name for each in verdicts(results) if each.goal.name == "start to ready"}

    assert names(10_000, 1_000_000) == {"start to ready, at 1,000,000 rows; --full for 10 M"}
    assert names(10_000, 1_000_000, 10_000_000) == {"start to ready, at 10,000,000 rows"}


async def test_contestants_take_turns_and_every_other_round_in_the_opposite_order() -> None:
    measured: list[tuple[str, int]] = []

    async def measure(name: str, number: int) -> Result:
        measured.append((name, number))
        return {"number": number}

    slices = await alternate({name: partial(measure, name) for name in "ab"}, 2)
    assert measured == [("a", 0), ("b", 0), ("b", 1), ("a", 1)]
    assert slices == {key: [{"number": 0}, {"number": 1}] for key in "ab"}


async def test_every_row_of_a_grown_history_is_verified(tmp_path: Path) -> None:
    path = tmp_path / "grown.db"
    await grown.grow(path, GROWN)
    with closing(open_reader(path)) as connection:
        assert verification.verify(connection).rows == GROWN.rows


async def test_a_grown_channel_wakes_from_its_snapshot_as_from_its_history(tmp_path: Path) -> None:
    path = tmp_path / "grown.db"
    await grown.grow(path, GROWN)
    database = Database(path)
    await database.open()
    memory = ConversationCache(grown.channel(11), database)
    from_snapshot = await memory.conversation(WINDOW)
    assert from_snapshot.messages == WINDOW
    found = await database.write(
        partial(snapshots.load, name=grown.channel(11), max_messages=WINDOW)
    )
    assert found.body is not None
    assert found.rows == []  # nothing is newer than the snapshot
    without = partial(
        snapshots.save, name=grown.channel(11), upto=found.upto, ts_ms=0, body=b"not a snapshot"
    )
    await database.write(without)
    memory.forget()
    assert await memory.conversation(WINDOW) == from_snapshot
    await database.close()


def test_all_texts_differ_and_have_the_length_that_the_goals_name() -> None:
    all_texts = [grown.text(number) for number in range(20_000)]
    assert {len(each.encode()) for each in all_texts} == {grown.TEXT_BYTES}
    assert len(set(all_texts)) == len(all_texts)
