"""Tests of how the benchmark computes and publishes results; nothing here is timed."""

from __future__ import annotations

from contextlib import closing
from functools import partial
from pathlib import Path

import orjson
import pytest

from engine.actors.conversation_cache import ConversationCache
from storage import snapshots, verification
from storage.queries.reader import open_reader
from storage.writer.database import Database
from tests.bench import closed_loops, figures, machine
from tests.bench.__main__ import NAMES
from tests.bench.asker import Answered, Asker, Question
from tests.bench.figures import Plan, Result, alternate, latencies, percentile, ratios, row, spread
from tests.bench.goals import GOALS, Goal, verdicts
from tests.bench.load import keep_pace, schedule
from tests.bench.record import (
    BEGIN,
    END,
    PAGE,
    NotPublished,
    Record,
    check_load,
    publish,
    with_table,
)
from tests.bench.store import grown
from tests.bench.store.grown import WINDOW, Size

FACTS = {"machine": "a machine"}
ONE = spread([1.0])
TAKEN = latencies([1000.0, 2000.0])


def a_slice(answers_a_second: float) -> dict[str, float]:
    figures = {"p50_ms": 5.0, "p99_ms": 9.0, "cpu_us": 200.0, "deltas_an_answer": 0.0}
    return {"answers_a_second": answers_a_second, **figures}


ROW = row([a_slice(100.0 * n) for n in (1, 2, 3)], [a_slice(400.0)] * 3)
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
            str(n): {"streamed_s": 0.3, "whole_s": 0.3, "bare_s": 0.2, "one_at_a_time_s": 20.0}
            for n in closed_loops.BURSTS
        }
    },
    "throughput": {"rows": {"bare loop": ROW, "engine": ROW}, "over_plain": ONE},
    "latency": {
        "rows": {rate: {"engine": {"p50_ms": 51.0, "p99_ms": 55.0}} for rate in ("500", "1")},
        **dict.fromkeys(("added_ms", "added_syncs", "p99_over_direct"), ONE),
    },
    "streams": {
        "chunks_a_second": {"providers": 1000.0, "engine": 900.0},
        "paced_cpu_us": {"engine": 30.0},
        **dict.fromkeys(("assembled", "relayed", "relayed_over_reading"), ONE),
    },
    "fairness": {"with": {"p99_ms": 30.0}, "p99_ratio": ONE},
    "overload": {"longest": {"busy_p99_ms": 20}, "rss_growth_mib": 1.0, "over_capacity": 1.0},
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
    assert ratios([10, 40, 90], [10, 20, 30])["median"] == 2.0


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


def test_a_question_is_the_body_with_a_channel_and_an_id_of_its_own() -> None:
    question = Question("llm.request", {"action": "chat"})
    assert question.message("a", "r1") == b'{"action":"chat","channel_id":"a","request_id":"r1"}'


@pytest.mark.parametrize(
    "answer",
    [
        b'{"type":"llm_error","code":"internal","request_id":"r1"}',
        b'{"type":"llm_response","request_id":"r2"}',
    ],
)
def test_an_error_or_an_unexpected_answer_ends_the_measurement(
    answer: bytes,
) -> None:
    asker, answers = Asker(), list[Answered]()
    asker.ask(Question("llm.request", {"action": "chat"}), "a", answers.append)
    asker.on_msg("llm.response", answer)
    assert asker.trouble
    assert not answers


def test_no_two_messages_of_any_load_have_the_same_id() -> None:
    question, sent = Question("llm.request", {"action": "chat"}), list[bytes]()
    for asker in (Asker(), Asker()):
        for _ in range(2):
            asker.ask(question, "a", print)
        sent += [message.partition(b"request_id")[2] for message in asker._outgoing[1:]]
    assert len(set(sent)) == 4


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
    lines = figures.table({**result, "rows": {"10": {"s": 1234.5}}}, "x")
    assert [" ".join(line.split()) for line in lines] == [
        "x rounds 3 ratio 0.8 [0.7-0.9]",
        "x.rows.10 s 1,234",
    ]


def test_the_page_has_a_place_for_the_results_and_keeps_everything_around_it(kept: Record) -> None:
    page = f"above\n{BEGIN}\nold\n{END}\nbelow"
    published = with_table(page, kept)
    assert published.startswith(f"above\n{BEGIN}\n")
    assert published.endswith(f"{END}\nbelow")
    assert "old" not in published
    assert with_table(published, kept) == published
    with pytest.raises(NotPublished, match="lacks the line"):
        with_table("a page", kept)


def test_the_page_shows_every_figure_that_has_a_name_here_and_no_other() -> None:
    table = PAGE.read_text().partition(BEGIN)[2].partition(END)[0]
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
    with pytest.raises(NotPublished, match=r"above 0\.5 before rows\. Measure them again"):
        check_load(kept, NAMES, busy=False)
    check_load(kept, NAMES, busy=True)


def test_the_facts_of_a_run_name_the_load_and_how_the_interpreter_was_built(tmp_path: Path) -> None:
    facts = machine.facts(tmp_path)
    assert float(facts["load before"].split()[0]) >= 0
    assert ", built with" in facts["Python"]


def test_the_page_names_the_facts_of_each_run_with_its_sections(kept: Record) -> None:
    kept.add("rows", a_rows(10_000_000), Plan(full=True), {"machine": "another"}, 90.0)
    lines = with_table(f"{BEGIN}{END}", kept).splitlines()
    first, second = (line for line in lines if line.startswith("- "))
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

    async def measure(name: str, number: int) -> int:
        measured.append((name, number))
        return number

    slices = await alternate({name: partial(measure, name) for name in "ab"}, 2)
    assert measured == [("a", 0), ("b", 0), ("b", 1), ("a", 1)]
    assert slices == {"a": [0, 1], "b": [0, 1]}


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
