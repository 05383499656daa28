"""Budgets over real parts: what is refused, what is reserved, and what a crash is charged with."""

from __future__ import annotations

import asyncio
import logging
import re
import signal
import tomllib
from pathlib import Path
from typing import Any

import pytest

from engine.config.loading import parse
from providers.validation import ValidationError
from tests.fakes.llm_server import Behaviour, LLMServer
from tests.support import scraper
from tests.support.command_line import rosey
from tests.support.service_harness import House
from tests.support.service_process import configuration, running
from tests.support.usage_rows import sums_of

EACH_TOKENS = 18  # of the fake server: 11 of the prompt, 7 of the answer
RESERVED_TOKENS = 1024


def sums(house: House, scope: str) -> dict[str, int]:
    return sums_of(house.folder / "data" / "rosey-llm.db", scope)


async def ask(house: House, words: str, **more: Any) -> dict[str, Any]:
    message = {"args": words, "channel_id": "#lobby", "username": "alice", **more}
    return await house.bot.call("rosey.command.chat", message)


async def test_a_user_whose_budget_is_spent_is_refused_until_it_starts_again(house: House) -> None:
    house.config["budgets"] = {"user_tokens_per_day": EACH_TOKENS + 1}
    await house.open()
    for number in range(2):
        assert (await ask(house, f"{number}"))["content"] == f"You said: {number}"
    refused = await ask(house, "more", request_id="r1")
    assert refused["code"] == "budget_spent"
    assert (refused["limit"], refused["scope"]) == ("user_tokens_per_day", "user")
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT00:00:00Z", refused["resets_at"])
    assert 0 < refused["retry_after_s"] <= 86_400
    assert refused["error"].startswith("Your budget is used up. It starts again in ")
    assert (await ask(house, "Hi", username="bob"))["content"] == "You said: bob: Hi"
    said = (await ask(house, "usage"))["content"]
    assert said.endswith(f"Your budget is used to {round(100 * 36 / 19)} %.")
    # It is an outcome: kept, charged with nothing, and the same for the same request.
    assert house.history()[4:6] == [
        ("message", "more"),
        ("error", "[budgets] user_tokens_per_day is spent"),
    ]
    assert sums(house, "*")["requests"] == 3
    await house.restart()
    assert await ask(house, "more", request_id="r1") == refused
    assert (await ask(house, "more"))["code"] == "budget_spent"
    house.config["budgets"] = {"user_tokens_per_day": 1000}
    await house.reload()
    assert "content" in await ask(house, "more")


@pytest.mark.parametrize(
    ("budgets", "scope", "said"),
    [
        ({"channel_tokens_per_month": 5}, "channel", "The budget of this channel is used up."),
        ({"total_tokens_per_month": 5}, "total", "The bot's budget is used up."),
        (
            {"by_persona": {"Default": {"tokens_per_day": 5}}},
            "persona",
            "The budget of the persona Default is used up.",
        ),
        (
            {"by_provider": {"openai": {"tokens_per_day": 5}}},
            "provider",
            "The budget of openai is used up.",
        ),
        ({"total_usd_per_day": 0.00001}, "total", "The bot's budget is used up."),
    ],
)
async def test_each_scope_has_its_budget(
    house: House, budgets: dict[str, Any], scope: str, said: str
) -> None:
    house.config["budgets"] = budgets
    house.config["prices"] = {"test-*": {"input": 2.0, "output": 10.0}}
    await house.open()
    assert "content" in await ask(house, "Hi", username=None)
    refused = await ask(house, "Hi", username=None)
    assert (refused["code"], refused["scope"]) == ("budget_spent", scope)
    assert refused["error"].startswith(said)
    assert house.app is not None
    _, text, _ = await scraper.get(f"{house.app.http_url}/metrics")
    shown = re.search(r'rosey_llm_budget_ratio\{budget="([\w.]+)"\} (\S+)', text)
    assert (shown is None) == (scope == "channel")
    if shown is not None:
        assert float(shown[2]) > 1
        assert f'rosey_llm_limited_total{{limit="{shown[1]}",scope="{scope}"}} 1.0' in text


async def test_what_runs_is_reserved(house: House, llm: LLMServer) -> None:
    house.config["budgets"] = {"total_tokens_per_day": RESERVED_TOKENS}
    await house.open()
    held = asyncio.Event()
    llm.plan(Behaviour(hold=held))
    await house.bot.chat("slowly", "#first")
    await llm.wait_for_requests(1)
    assert (await ask(house, "Hi"))["code"] == "budget_spent"
    held.set()
    await house.bot.until(
        lambda: any(each.get("content") for each in house.bot.received_outcomes())
    )
    assert "content" in await ask(house, "Hi")


async def test_a_provider_without_budget_is_passed_over(house: House, llm: LLMServer) -> None:
    house.config["providers"]["second"] = house.config["providers"]["openai"] | {
        "kind": "openai",
        "default_model": "second-model",
    }
    house.config["fallback_providers"] = ["second"]
    house.config["budgets"] = {"by_provider": {"openai": {"tokens_per_day": 1}}}
    await house.open()
    assert (await ask(house, "Hi"))["provider"] == "openai"
    assert (await ask(house, "Hi"))["provider"] == "second"
    assert [request.body["model"] for request in llm.requests] == ["test-model", "second-model"]


@pytest.mark.parametrize("unpriced", ["refuse", "ignore"])
async def test_a_model_without_a_price_is_asked_only_if_that_is_allowed(
    house: House, llm: LLMServer, unpriced: str
) -> None:
    house.config["budgets"] = {"user_usd_per_day": 1.0, "unpriced": unpriced}
    await house.open()
    outcome = await ask(house, "Hi")
    if unpriced == "ignore":
        assert outcome["content"] == "You said: Hi"
    else:
        assert outcome["code"] == "budget_spent"
        assert "resets_at" not in outcome
        assert outcome["error"].startswith("The price of the model test-model is not known")
        assert llm.requests == []
    assert "content" in await ask(house, "Hi", username=None)  # it concerns no budget of money


async def test_a_lost_call_is_charged_with_what_it_may_have_cost(
    house: House, llm: LLMServer
) -> None:
    house.config["providers"]["openai"]["max_retries"] = 1
    house.config["conversation"] = {"stream": False}
    await house.open()
    llm.plan(Behaviour(drop=True))
    assert (await ask(house, "Hi"))["content"] == "You said: Hi"
    total = sums(house, "*")
    assert (total["requests"], total["estimated"]) == (1, 1)
    assert total["completion_tokens"] == 7 + RESERVED_TOKENS


@pytest.mark.parametrize("stream", [True, False])
async def test_a_stopped_answer_is_charged_with_what_it_may_have_cost(
    house: House, llm: LLMServer, *, stream: bool
) -> None:
    house.config["conversation"] = {"stream": stream}
    await house.open()
    llm.plan(Behaviour(hold=asyncio.Event()))
    await house.bot.chat("slowly")
    await llm.wait_for_requests(1)
    await ask(house, "stop")
    total = sums(house, "e:openai")
    assert (total["requests"], total["estimated"]) == (1, 1)
    assert total["prompt_tokens"] > 10
    assert total["completion_tokens"] == (0 if stream else RESERVED_TOKENS)


async def test_an_empty_answer_is_charged_as_the_provider_counted_it(
    house: House, llm: LLMServer
) -> None:
    house.config["conversation"] = {"stream": False}
    await house.open()
    counted = {"prompt_tokens": 100, "completion_tokens": 10}
    choice = {"index": 0, "message": {"content": "Rosey: "}, "finish_reason": "stop"}
    llm.plan(Behaviour(body={"model": "x", "choices": [choice], "usage": counted}))
    await ask(house, "Hi")
    assert sums(house, "*")["prompt_tokens"] == 100


@pytest.mark.process
async def test_an_attempt_that_a_kill_cut_is_charged_at_the_next_one(
    tmp_path: Path, llm: LLMServer
) -> None:
    llm.plan(Behaviour(hold=asyncio.Event()))
    budgets = {"user_tokens_per_day": RESERVED_TOKENS + 100}
    config = configuration(llm, budgets=budgets)
    message = {"args": "Hi", "channel_id": "#lobby", "username": "alice", "request_id": "r1"}
    async with running(tmp_path, config) as service:
        await service.bot.send("rosey.command.chat", message)
        await llm.wait_for_requests(1)
        service.process.send_signal(signal.SIGKILL)
        await service.process.wait()
    async with running(tmp_path, config) as service:
        answer = await service.bot.call("rosey.command.chat", message)
        assert answer["content"] == "You said: Hi"
        total = sums_of(tmp_path / "data" / "rosey-llm.db", "u:name alice")
        assert (total["requests"], total["estimated"]) == (1, 1)
        assert total["completion_tokens"] == 7 + RESERVED_TOKENS
        refused = await service.bot.call("rosey.command.chat", message | {"request_id": "r2"})
        assert refused["code"] == "budget_spent"


@pytest.mark.process
async def test_an_erased_user_has_a_whole_budget_again(house: House) -> None:
    house.config["budgets"] = {"user_tokens_per_day": 1}
    await house.open()
    for user in ({"username": "alice"}, {"username": "alice", "user_id": "U1"}):
        assert "content" in await ask(house, "Hi", **user)
        assert (await ask(house, "Hi", **user))["code"] == "budget_spent"
    erase = ("history", "erase", "--yes", "--database", "data/rosey-llm.db", "--user", "alice")
    done = await asyncio.to_thread(rosey, house.folder, *erase)  # the service, in here, erases
    assert done.returncode == 0, done.stderr
    for user in ({"username": "alice"}, {"username": "alice", "user_id": "U1"}):
        assert "content" in await ask(house, "Hi", **user)


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        (
            "[budgets.by_persona.poett]\ntokens_per_day = 1",
            "budgets.by_persona.poett: there is no such name",
        ),
        (
            "[budgets.by_provider.opnai]\nusd_per_day = 1",
            "budgets.by_provider.opnai: there is no such name",
        ),
        ("[budgets]\nuser_token_per_day = 1", 'did you mean "user_tokens_per_day"'),
        ("[budgets]\ntotal_usd_per_day = -1", "budgets.total_usd_per_day"),
        ('[budgets]\nunpriced = "free"', "budgets.unpriced"),
    ],
)
def test_a_wrong_budget_is_named(tmp_path: Path, table: str, problem: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(problem)):
        parse(tomllib.loads(table), tmp_path)


async def test_a_model_without_a_price_is_named_at_a_reload(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    await house.open()
    house.config["budgets"] = {"total_usd_per_day": 1.0}
    await house.reload()
    assert 'the price of "openai/test-model" is not known' in caplog.text
