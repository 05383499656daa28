"""Tests of the metrics: their values after known events, their names and their texts."""

from __future__ import annotations

import asyncio
import os
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from engine import LLMService
from engine.commands.observer import SettledTurn
from engine.commands.outcomes import Answer
from engine.config.loading import parse
from engine.monitoring import metrics
from engine.monitoring.bounded_dict import BoundedDict
from engine.monitoring.counts import MODELS_LIMIT, Counts
from engine.monitoring.histogram import Histogram
from providers import OpenAIProvider, ScriptedProvider
from providers.base import Usage
from tests.fakes.llm_answers import COMPLETION_TOKENS, PROMPT_TOKENS
from tests.fakes.llm_server import Behaviour, LLMServer
from tests.support.patience import WAIT_S
from tests.support.scraper import Scrape, scrape, scraped
from tests.support.service_harness import House, rests_for_long


def url_of(house: House) -> str:
    assert house.app is not None
    assert house.app.http_url is not None
    return house.app.http_url


async def seen_of(service: LLMService) -> Scrape:
    return Scrape((await service.metrics()).decode())


async def test_turns_tokens_and_messages_are_counted(house: House) -> None:
    await house.open()
    for channel in ("#a", "#b", "#b"):
        await house.bot.ask("one two three", channel)
    await house.bot.request(message="whole", channel_id="#b")
    await house.bot.outcomes(4)
    house.llm.plan(Behaviour(status=401, body={"error": {"message": "no"}}))
    assert (await house.bot.ask("Hello", "#a"))["code"] == "provider_auth"
    await house.bot.send("llm.request", b"not json")
    await house.bot.ask("stop", "#a")
    await house.bot.outcomes(7)
    seen = await scraped(
        url_of(house), lambda seen: seen.total("nats_sent_total", kind="refusal") > 0
    )
    assert seen.total("commands_total", result="accepted") == 5
    assert seen.total("commands_total", result="invalid") == 1
    assert seen.total("commands_total", result="at_once") == 1
    assert seen.values("turns_total", outcome="answered") == [4]
    assert seen.values("turns_total", outcome="failed", code="provider_auth") == [1]
    assert seen.total("turn_duration_seconds_count", outcome="answered") == 4
    assert seen.total("turn_wait_seconds_count") == 5
    model = {"provider": "openai", "model": "test-model"}
    assert seen.total("tokens_total", direction="prompt", **model) == 4 * PROMPT_TOKENS
    assert seen.total("tokens_total", direction="completion", **model) == 4 * COMPLETION_TOKENS
    assert seen.total("answer_duration_seconds_count", provider="openai") == 4
    assert seen.total("first_piece_seconds_count", provider="openai") == 3
    assert seen.total("provider_calls_total", provider="openai", result="ok") == 4
    assert seen.total("provider_calls_total", provider="openai", result="provider_auth") == 1
    assert seen.total("channels_active") == seen.total("channels_known") == 2
    assert seen.total("channel_activations_total") == 2
    assert seen.total("nats_connected") == 1
    assert seen.total("nats_received_total") == 7
    assert seen.total("nats_sent_total", kind="delta") >= 3
    assert seen.total("commit_duration_seconds_count") == seen.total("commit_writes_count") > 5
    assert seen.total("commit_writes_sum") >= seen.total("commit_writes_count")


async def test_there_are_metrics_of_the_process(house: House) -> None:
    await house.open()
    seen = await scraped(url_of(house), lambda seen: seen.total("event_loop_lag_seconds_count") > 0)
    assert len(seen.values("build_info")) == 1
    samples = {s.name: s.value for family in seen.families for s in family.samples}
    assert samples["process_resident_memory_bytes"] > 10_000_000
    assert samples["process_open_fds"] > 3
    assert "python_gc_collections_total" in samples


async def test_every_metric_has_a_known_prefix_a_help_text_and_no_channel(house: House) -> None:
    await house.open()
    await house.bot.ask("Hello", "#a-channel")
    seen = await scrape(url_of(house))
    for family in seen.families:
        assert family.name.startswith(("rosey_llm_", "process_", "python_gc_")), family.name
        assert family.documentation
        for sample in family.samples:
            assert "#a-channel" not in sample.labels.values()
    names = [family.name for family in seen.families]
    assert len(names) == len(set(names))


async def test_the_document_names_every_metric_with_its_labels_and_no_other(house: House) -> None:
    house.config["budgets"] = {"total_tokens_per_day": 1_000_000}
    await house.open()
    await house.bot.ask("Hello")
    document = Path(__file__).parents[2].joinpath("docs", "metrics.md").read_text()
    table = document.split("| about | metrics |")[1].split("\n\n")[0]
    named = {
        name: set(filter(None, labels.split(",")))
        for name, labels in re.findall(r"`([a-z_]+)(?:\{([a-z,]+)\})?`", table)
    }
    families = (await scrape(url_of(house))).families
    there = {}
    for family in families:
        assert family.samples, family.name
        name = family.name.removeprefix("rosey_llm_")
        if family.type == "counter":
            name += "_total"
        there[name] = set(family.samples[0].labels) - {"le"}
    assert named == there
    sources = "".join(file.read_text() for file in Path(metrics.__path__[0]).glob("*.py"))
    for name in re.findall(r'\b(?:gauge|counter|histogram)s?\(\s*"(\w+)"', sources):
        assert f"rosey_llm_{name}" in {family.name for family in families}


async def test_the_help_texts_state_the_equation_of_conservation(house: House) -> None:
    await house.open()
    texts = {f.name: f.documentation for f in (await scrape(url_of(house))).families}
    for name in ("commands", "turns", "commands_waiting"):
        assert (
            'rosey_llm_commands_total{result="accepted"} = sum(rosey_llm_turns_total)'
            " + rosey_llm_commands_waiting" in texts[f"rosey_llm_{name}"]
        )


async def test_retries_fallbacks_and_circuits_are_counted(llm: LLMServer, tmp_path: Path) -> None:
    first = OpenAIProvider(
        {"base_url": f"{llm.url}/v1", "api_key": "k", "max_retries": 1}, name="first"
    )
    spare = ScriptedProvider(name="spare")
    async with LLMService([first, spare], database=tmp_path / "db") as service:
        llm.plan(Behaviour(status=503), Behaviour())
        rests_for_long(service)
        assert (await service.chat("Hello")).provider == "first"
        await llm.stop()
        for _ in range(6):
            assert (await service.chat("Hello")).provider == "spare"
        seen = await seen_of(service)
    assert seen.total("provider_retries_total", provider="first") == 1
    assert seen.total("provider_fallbacks_total", provider="spare") == 6
    assert seen.total("provider_fallbacks_total", provider="first") == 0
    assert seen.total("provider_calls_total", provider="first", result="ok") == 1
    assert seen.total("provider_calls_total", provider="first", result="provider_unavailable") == 6
    assert seen.total("provider_calls_total", provider="spare", result="ok") == 6
    assert seen.total("provider_circuit_openings_total", provider="first") == 1
    assert seen.total("provider_skips_total", provider="first") == 1
    assert seen.values("provider_circuit_state", provider="first", state="open") == [1]
    assert seen.values("provider_circuit_state", provider="first", state="closed") == [0]


async def test_totals_outlive_a_provider_that_a_reload_replaces(house: House) -> None:
    await house.open()
    await house.bot.ask("Hello")
    house.config["providers"]["openai"]["max_concurrency"] = 7
    await house.reload()
    await house.bot.ask("Hello")
    seen = await scrape(url_of(house))
    assert seen.total("provider_calls_total", provider="openai", result="ok") == 2
    assert seen.values("provider_slots", provider="openai") == [7]
    house.config["default_provider"] = "other"
    house.config["providers"]["other"] = {"kind": "scripted"}
    await house.reload()
    assert (await house.bot.ask("Hello"))["provider"] == "other"
    seen = await scraped(
        url_of(house), lambda seen: seen.total("provider_calls_total", provider="other") == 1
    )
    assert seen.total("provider_calls_total", provider="openai", result="ok") == 2
    assert seen.values("provider_slots", provider="openai") == []


@pytest.mark.parametrize(
    ("limits", "cause"),
    [
        ({"passivate_after_s": 0.01, "snapshot_interval_s": 0.01}, "idle"),
        ({"resident_limit": 1, "passivate_after_s": 60.0, "snapshot_interval_s": 0.01}, "limit"),
    ],
)
async def test_passivations_are_counted_by_cause(
    tmp_path: Path, limits: dict[str, float], cause: str
) -> None:
    settings = parse({"channels": limits}, tmp_path)
    async with LLMService(ScriptedProvider(), settings=settings) as service:
        await service.chat("Hello", "#a")
        await service.chat("Hello", "#b")
        async with asyncio.timeout(WAIT_S):
            while True:
                seen = await seen_of(service)
                if seen.total("channel_passivations_total", cause=cause):
                    break
                await asyncio.sleep(0.01)
    assert seen.total("channel_passivations_total") == seen.total(
        "channel_activations_total"
    ) - seen.total("channels_active")


async def test_an_outcome_that_cannot_be_published_is_counted_with_its_age(house: House) -> None:
    hold = asyncio.Event()
    house.llm.plan(Behaviour(hold=hold))
    house.config["service"] = {"drain_timeout_s": 0.1}
    await house.open()
    assert house.app is not None
    await house.bot.chat("Hello")
    await house.llm.wait_for_requests(1)
    await house.app.inspect().connection.close()
    hold.set()
    seen = await scraped(url_of(house), lambda seen: seen.total("outbox_unpublished") == 1)
    assert seen.total("nats_unsent") >= 1
    seen = await scraped(url_of(house), lambda seen: seen.total("outbox_oldest_age_seconds") > 0)
    assert seen.total("turns_total", outcome="answered") == 1


async def test_a_channel_that_crashes_too_often_is_counted_as_suspended(tmp_path: Path) -> None:
    path = tmp_path / "db"
    async with LLMService(ScriptedProvider(), database=path) as service:
        await service.chat("Hello")
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute(
                "CREATE TRIGGER broken BEFORE DELETE ON mailbox"
                " BEGIN SELECT RAISE(ABORT, 'a defect of ours'); END"
            )
        asking = asyncio.create_task(service.chat("Hello again"))
        async with asyncio.timeout(WAIT_S):
            while True:
                seen = await seen_of(service)
                seen.check_conservation()
                if seen.total("suspensions_total"):
                    break
                await asyncio.sleep(0.05)
        assert seen.total("actor_restarts_total") == 6
        assert seen.total("channels_suspended") == 1
        asking.cancel()
        await asyncio.wait({asking})


def test_a_histogram_counts_each_value_once_and_a_bound_belongs_to_its_bucket() -> None:
    histogram = Histogram((1, 2.5))
    for value in (0, 1, 1.1, 2.5, 3, 1000):
        histogram.observe(value)
    assert histogram.buckets() == [("1.0", 2), ("2.5", 4), ("+Inf", 6)]
    assert histogram.sum == sum((0, 1, 1.1, 2.5, 3, 1000))


def test_keys_beyond_the_limit_share_one() -> None:
    bounded: BoundedDict[str, list[str]] = BoundedDict(list, 2, "other")
    for key in ("a", "b", "c", "d", "a"):
        bounded[key].append(key)
    assert dict(bounded.items()) == {"a": ["a", "a"], "b": ["b"], "other": ["c", "d"]}


def test_any_number_of_models_is_a_bounded_number_of_samples() -> None:
    counts = Counts()
    for number in range(MODELS_LIMIT * 3):
        answer = Answer(
            "#a",
            "r",
            "chat",
            "x",
            provider="p",
            model=f"{number}" + "m" * 1000,
            usage=Usage(2, 3),
            latency_ms=1,
        )
        counts.settled(SettledTurn(None, answer, (), 0, 0, 0))
    tokens = dict(counts.tokens.items())
    assert len(tokens) == MODELS_LIMIT + 1
    assert tokens["other", "other"].prompt == 2 * 2 * MODELS_LIMIT
    assert max(len(model) for _, model in tokens) == 100


async def test_in_process_there_are_metrics_without_a_port_and_without_nats(tmp_path: Path) -> None:
    async with LLMService(ScriptedProvider()) as service:
        await service.chat("Hello")
        seen = await seen_of(service)
    assert seen.total("turns_total", outcome="answered") == 1
    assert not [name for name in seen.names if "nats" in name]
    assert os.listdir(tmp_path) == []
