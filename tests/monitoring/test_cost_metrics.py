"""The metrics of tokens from caches, of costs, and of turns without a price."""

from __future__ import annotations

from typing import Any

from tests.fakes.llm_server import Behaviour, LLMServer
from tests.support.scraper import Scrape, scrape
from tests.support.service_harness import House

MODEL = {"provider": "openai", "model": "test-model"}


def answering(model: str = "test-model", /, **counted: Any) -> Behaviour:
    choice = {"index": 0, "message": {"content": "Hi."}, "finish_reason": "stop"}
    counted = {"prompt_tokens": 100, "completion_tokens": 10} | counted
    return Behaviour(body={"model": model, "choices": [choice], "usage": counted})


async def seen(house: House) -> Scrape:
    assert house.app is not None
    return await scrape(str(house.app.http_url))


def in_the_table(house: House) -> int:
    rows = house.rows("SELECT micro_usd FROM usage WHERE scope = '*'")
    return sum(row["micro_usd"] for row in rows)


async def test_what_turns_cost_is_what_the_database_has(house: House, llm: LLMServer) -> None:
    house.config["prices"] = {"test-*": {"input": 2.0, "output": 10.0, "cached": 1.0}}
    house.config["conversation"] = {"stream": False}
    await house.open()
    cached: dict[str, Any] = {"prompt_tokens_details": {"cached_tokens": 64}}
    llm.plan(answering(**cached), answering(cost=0.5), Behaviour(status=400))
    for _ in range(3):
        await house.bot.ask("Hi", user_id="U-secret")
    found = await seen(house)
    assert found.total("cached_tokens_total", **MODEL) == 64
    assert found.total("tokens_total", direction="prompt", **MODEL) == 200
    assert found.total("cost_usd_total", provider="openai") == 0.500236
    assert in_the_table(house) == 500_236
    assert found.total("unpriced_turns_total") == 0
    labels = {value for f in found.families for s in f.samples for value in s.labels.values()}
    assert not {"U-secret", "alice", "User"} & labels


async def test_turns_of_models_without_a_price_are_counted(house: House, llm: LLMServer) -> None:
    house.config["prices"] = {"known-*": {"input": 1.0, "output": 1.0}}
    house.config["conversation"] = {"stream": False}
    await house.open()
    llm.plan(answering(), answering("known-1"), answering("x" * 300), answering())
    for _ in range(4):
        await house.bot.ask("Hi")
    found = await seen(house)
    assert found.total("unpriced_turns_total", **MODEL) == 2
    assert found.values("unpriced_turns_total", model="known-1") == [0]
    assert found.total("unpriced_turns_total", model="x" * 100) == 1
    assert found.total("cost_usd_total") == 0.00011


async def test_a_version_that_the_server_names_has_the_price_of_the_model_asked_for(
    house: House, llm: LLMServer
) -> None:
    house.config["prices"] = {"test-model": {"input": 1.0, "output": 1.0}}
    house.config["conversation"] = {"stream": False}
    await house.open()
    llm.plan(answering("test-model-2026-12-01"))
    await house.bot.ask("Hi")
    found = await seen(house)
    assert found.total("cost_usd_total", provider="openai") == 0.00011
    assert found.values("unpriced_turns_total", model="test-model-2026-12-01") == [0]


async def test_a_stopped_answer_costs_what_is_estimated(house: House, llm: LLMServer) -> None:
    house.config["prices"] = {"*": {"input": 1000.0, "output": 1000.0}}
    await house.open()
    llm.plan(Behaviour(hang_after=1))
    await house.bot.chat("tell me everything", request_id="long")
    await house.bot.deltas(1)
    await house.bot.ask("stop")
    await house.bot.outcomes(2)
    assert (await seen(house)).total("cost_usd_total", provider="openai") > 0.01
    assert in_the_table(house) > 10_000
