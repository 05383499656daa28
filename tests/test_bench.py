"""Tests of how the benchmark computes and publishes results; nothing here is timed."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.bench import channels, fairness, growth, latency, overload, streams, throughput
from tests.bench.asker import Answered, Asker, LoadFailed, Question
from tests.bench.closed_slices import Slice, row
from tests.bench.drawing import draw
from tests.bench.figures import percentile, ratios, spread
from tests.bench.goals import GOALS, Goal, verdicts
from tests.bench.nats_wire import NatsWire
from tests.bench.pace import Pace, schedule
from tests.bench.plan import Plan
from tests.bench.publishing import BEGIN, END, PAGE, NotPublished, publish, with_results
from tests.bench.record import Record, Run
from tests.bench.sections import NAMES
from tests.bench.store import rows
from tests.bench.store.latencies import latencies
from tests.bench.store.searching import KINDS

FACTS = {
    "machine": "a machine",
    "system": "a system",
    "Python": "CPython 3.11",
    "packages": "some",
    "SQLite": "3.40",
    "nats-server": "2.15",
}
RUN = Run(Plan(), FACTS)
SLICES = [Slice(100.0 * number, 5.0, 9.0, 200.0, 0.0, {}) for number in (1, 2, 3)]
ROW = row("engine", SLICES, [Slice(400.0, 1.0, 2.0, 90.0, 0.0, {})] * 3)
TAKEN = latencies([1000.0, 2000.0])


def a_throughput() -> throughput.Throughput:
    rows = {"bare loop": ROW, "engine": ROW}
    return throughput.Throughput(3, 0.5, rows, spread([5.0]), {"engine": {"engine": 0.9}})


def an_overload() -> overload.Overload:
    at = overload.OverloadRow(3.0, 4.0, 4800, 1600, 3200, 400, 800, 900, 2000, 2, 20, 0.1, 70)
    return overload.Overload(400.0, [at], at, [70.0, 71.0], 1.0, 1.0)


def a_rows(*sizes: int) -> rows.Rows:
    search = dict.fromkeys(KINDS, TAKEN)
    start = spread([0.4])
    return rows.Rows(
        {str(n): rows.RowsRow(n, n, TAKEN, TAKEN, TAKEN, search, 900.0, 60.0, start) for n in sizes}
    )


RESULTS: dict[str, tuple[Any, Callable[[Any], list[str]]]] = {
    "channels": (
        channels.Channels(
            5,
            100,
            {str(n): channels.ChannelsRow(n, 0.3, 0.3, 0.2, n * 0.2, n) for n in (10, 100, 1000)},
        ),
        channels.table,
    ),
    "throughput": (a_throughput(), throughput.table),
    "latency": (
        latency.Latency(
            3,
            1.0,
            {"500": {"engine": latency.LatencyRow("engine", 51.0, 55.0, 0.1)}},
            0.2,
            0.4,
            spread([0.5]),
            spread([2.5]),
            spread([1.01]),
        ),
        latency.table,
    ),
    "streams": (
        streams.Streams(
            3,
            0.5,
            dict.fromkeys(("bare reading", "providers", "bare relay", "engine"), 1000.0),
            spread([0.9]),
            spread([0.8]),
            spread([0.6]),
            1.0,
            {"bare relay": 20.0, "engine": 30.0},
        ),
        streams.table,
    ),
    "fairness": (
        fairness.Fairness(3, {"with": 20, "without": 20}, {"with": 30, "without": 30}, spread([1])),
        fairness.table,
    ),
    "overload": (an_overload(), overload.table),
    "growth": (
        growth.Growth(3, 0.5, {"10": growth.GrowthRow(10, 10, 70.0, ROW, ROW)}),
        growth.table,
    ),
    "rows": (a_rows(10_000, 1_000_000), rows.table),
}


@pytest.fixture
def kept(tmp_path: Path) -> Record:
    record = Record(tmp_path / "bench.json")
    for section, (result, table) in RESULTS.items():
        record.add(section, result, table(result), RUN, 60.0)
    return record


def test_a_ratio_is_taken_within_each_round() -> None:
    assert ratios([10, 40, 90], [10, 20, 30]).median == 2.0


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
    pace = Pace(schedule(2000, 0.05, seed=3), lambda number, _: kept.append(number))
    await pace.keep()
    assert kept == list(range(100))
    assert min(pace.lateness_s) >= 0


async def test_an_error_on_a_schedule_reaches_the_caller() -> None:
    def fail(number: int, due: float) -> None:
        raise LoadFailed("gone")

    with pytest.raises(LoadFailed, match="gone"):
        await Pace([0.0, 0.001, 3600.0], fail).keep()


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
    asker.wire = NatsWire(asker.on_msg)
    asker.ask(Question("llm.request", {"action": "chat"}), "a", answers.append)
    asker.on_msg("llm.response", answer)
    assert asker.trouble
    assert not answers


def test_a_goal_is_an_upper_or_a_lower_limit() -> None:
    results = {"s": {"few": 3.0, "many": {"low": 0.7, "median": 0.8, "high": 0.9}}}
    few = Goal("s", "few", "few", 4.0)
    many = Goal("s", "many", "many", 0.85, at_least=True)
    assert [each.word for each in verdicts(results, [few, many])] == ["met", "MISSED"]
    assert [each.measured for each in verdicts(results, [few, many])] == ["3", "0.8 [0.7-0.9]"]


def test_a_goal_can_subtract_another_figure_and_have_a_unit() -> None:
    results = {"s": {"all": 70_000_000, "base": 30_000_000}}
    goal = Goal("s", "memory", "all", 60, " MB", less="base", unit_size=1_000_000)
    (found,) = verdicts(results, [goal])
    assert (found.measured, found.word) == ("40 MB", "met")


def test_a_goal_without_a_result_has_no_verdict() -> None:
    assert not list(verdicts({}, GOALS))
    assert {goal.section for goal in GOALS} <= set(NAMES)


def test_every_goal_of_the_measured_sections_finds_its_figure(kept: Record) -> None:
    found = [each.goal for each in verdicts(kept.results)]
    assert found == [goal for goal in GOALS if goal.section in RESULTS]


def test_a_section_measured_again_replaces_only_its_own_results(kept: Record) -> None:
    again = Record(kept.path)
    again.add("overload", an_overload(), ["measured again"], RUN, 60.0)
    read = Record(kept.path)
    assert read.tables["overload"] == ["measured again"]
    assert read.tables["growth"] == kept.tables["growth"]


def test_the_picture_shows_every_goal_that_was_measured(kept: Record, tmp_path: Path) -> None:
    picture = tmp_path / "bench.svg"
    draw(picture, kept)
    shown = " ".join(ElementTree.fromstring(picture.read_text()).itertext())  # noqa: S314 - our own
    for each in verdicts(kept.results):
        assert each.name in shown


def test_the_page_has_a_place_for_the_results_and_keeps_everything_around_it(kept: Record) -> None:
    page = f"above\n{BEGIN}\nold\n{END}\nbelow"
    published = with_results(page, kept)
    assert published.startswith(f"above\n{BEGIN}\n")
    assert published.endswith(f"{END}\nbelow")
    assert "old" not in published
    assert with_results(published, kept) == published
    assert BEGIN in PAGE.read_text()
    assert END in PAGE.read_text()


def test_a_page_without_the_lines_around_the_results_is_refused(kept: Record) -> None:
    with pytest.raises(NotPublished, match="lacks the line"):
        with_results("a page", kept)


def test_incomplete_results_are_not_published(
    kept: Record, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "docs").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NotPublished, match=r"no results of checkpoints, waking, .*Measure"):
        publish(kept)
    assert not list((tmp_path / "docs").iterdir())


def test_the_page_lists_the_facts_of_each_run_with_its_sections(kept: Record) -> None:
    another = Run(Plan(full=True), FACTS | {"system": "another system"})
    kept.add("rows", a_rows(10_000_000), ["larger"], another, 90.0)
    published = with_results(f"{BEGIN}{END}", kept)
    first, second = published.split("took         ")[:2]
    assert "a system" in first
    assert (
        "measured     channels, throughput, latency, streams, fairness, overload, growth" in first
    )
    assert "another system" in second
    assert "measured     rows\n" in second
    assert "in 90 s, with `--full`." in published


def test_a_goal_is_judged_at_the_largest_size_that_was_measured_and_names_it() -> None:
    def names(*sizes: int) -> set[str]:
        results = {"rows": orjson.loads(orjson.dumps(asdict(a_rows(*sizes))))}
        return {each.name for each in verdicts(results) if each.goal.name == "start to ready"}

    assert names(10_000, 1_000_000) == {"start to ready, at 1,000,000 rows; --full for 10 M"}
    assert names(10_000, 1_000_000, 10_000_000) == {"start to ready, at 10,000,000 rows"}


def test_calculated_figures_are_marked_and_measured_ones_are_not() -> None:
    result, table = RESULTS["channels"]
    marked = [line.split()[0] for line in table(result) if "s*" in line]
    assert marked == ["10", "1,000"]
