"""A provider that needs a person, through the service over NATS: what senders and operators see."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from rich.console import Console

from engine.interfaces.top import view
from engine.interfaces.top.channel_list import ChannelList
from tests.fakes.llm_server import Behaviour
from tests.support.patience import WAIT_S
from tests.support.scraper import Scrape, get, scrape, scraped
from tests.support.service_harness import House, ReceivedMessage

WRONG_KEY = "sk-house-wrong"
RIGHT_KEY = "sk-house-right"


def url_of(house: House) -> str:
    assert house.app is not None
    assert house.app.http_url is not None
    return house.app.http_url


def with_fallback(house: House, **settings: Any) -> House:
    house.config |= {"fallback_providers": ["scripted"], **settings}
    house.config["providers"]["scripted"] = {"reply": "fallback"}
    return house


async def readiness(house: House) -> tuple[int, str]:
    status, found, _ = await get(f"{url_of(house)}/readyz")
    assert found["ready"] is (status == 200)
    return status, found["parts"]["providers"]["detail"]


def misconfigured(seen: Scrape) -> list[str]:
    """Return "provider code" for each provider that the metrics show as misconfigured."""
    (family,) = [f for f in seen.families if f.name == "rosey_llm_provider_misconfigured"]
    wrong = [sample.labels for sample in family.samples if sample.value == 1]
    return [f"{labels['provider']} {labels['code']}" for labels in wrong]


async def until_shown(house: House, wrong: list[str], text: str, *, on_top: bool) -> None:
    """Wait until the metrics and `rosey-llm top` show it; both pages are kept for a moment."""
    await scraped(url_of(house), lambda seen: misconfigured(seen) == wrong)
    async with asyncio.timeout(WAIT_S):
        while (text in await top(house)) is not on_top:  # noqa: ASYNC110 - there is no event
            await asyncio.sleep(0.05)


async def top(house: House) -> str:
    """Return what `rosey-llm top` shows."""
    seen = (await get(f"{url_of(house)}/top"))[1]
    console = Console(width=200)
    with console.capture() as shown:
        console.print(view.frame(seen, None, 200, None, ChannelList()))
    return shown.get()


async def ask(house: House, *, stream: bool, **more: Any) -> ReceivedMessage:
    request = {"action": "chat", "channel_id": "#a", "message": "Hello", "stream": stream}
    return await house.bot.call("llm.request", request | more)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("kind", ["openai", "ollama"])
async def test_a_wrong_key_is_an_error_until_it_is_right_although_there_is_a_fallback(
    house: House, caplog: pytest.LogCaptureFixture, kind: str, stream: bool
) -> None:
    caplog.set_level(logging.INFO, "rosey_llm.providers")
    with_fallback(house)
    base_url = house.llm.url + ("/v1" if kind == "openai" else "")
    house.config["providers"]["first"] = {
        "kind": kind, "base_url": base_url, "api_key": WRONG_KEY, "max_retries": 0
    }  # fmt: skip
    house.config["default_provider"] = "first"
    house.llm.api_key = RIGHT_KEY
    await house.open()
    assert (await readiness(house))[0] == 200
    for _ in range(2):
        failed = await ask(house, stream=stream)
        assert (failed["type"], failed["code"]) == ("llm_error", "provider_auth")
        assert await readiness(house) == (
            503,
            "first refuses its key (401). Set providers.first.api_key.",
        )
    page = "Provider first refuses its key (401). Set providers.first.api_key."
    await until_shown(house, ["first provider_auth"], page, on_top=True)
    assert not [row for row in house.history("#a") if row[0] == "answer"]

    house.llm.api_key = WRONG_KEY  # the provider takes it now
    answered = await ask(house, stream=stream)
    assert (answered["content"], answered["provider"]) == ("You said: Hello", "first")
    assert await readiness(house) == (200, "first, scripted")
    await until_shown(house, [], page, on_top=False)
    warned, back = [text for text in caplog.messages if text.startswith("Provider ")]
    assert warned.startswith(
        "Provider first refuses its key (401). Set providers.first.api_key;"
        " until then senders get provider_auth. ("
    )
    assert back == "Provider first answers again."


async def test_a_key_that_a_reload_corrects_is_no_problem_any_more(house: House) -> None:
    house.llm.api_key = RIGHT_KEY
    with_fallback(house)
    await house.open()
    assert (await house.bot.ask("Hello"))["code"] == "provider_auth"
    assert (await readiness(house))[0] == 503
    house.config["providers"]["openai"]["api_key"] = RIGHT_KEY
    await house.reload()
    assert (await readiness(house))[0] == 200
    assert (await house.bot.ask("Hello"))["provider"] == "openai"


@pytest.mark.parametrize(
    ("behaviour", "code", "is_misconfigured"),
    [
        (Behaviour(status=401), "provider_auth", True),
        (Behaviour(status=402), "rate_limited", True),
        (
            Behaviour(status=404, body={"error": {"code": "model_not_found", "message": "none"}}),
            "model_not_found",
            True,
        ),
        (Behaviour(status=503), None, False),
        (Behaviour(status=429), None, False),
        (Behaviour(text=""), None, False),
    ],
)
async def test_only_what_may_pass_is_answered_by_the_fallback_unless_any_failure_shall_be(
    house: House, behaviour: Behaviour, code: str | None, is_misconfigured: bool
) -> None:
    with_fallback(house)
    await house.open()
    house.llm.plan(behaviour)
    outcome = await house.bot.ask("Hello")
    assert outcome.get("code") == code
    assert outcome.get("provider") == (None if code else "scripted")
    assert (await readiness(house))[0] == (503 if is_misconfigured else 200)
    house.config["fallback_on"] = "any"
    assert (await house.reload()).lines == ['settings: fallback_on = "any"']
    house.llm.plan(behaviour)
    assert (await house.bot.ask("Hello"))["provider"] == "scripted"
    status, detail = await readiness(house)
    assert status == 200
    assert ("Set " in detail or "Add credit" in detail) is is_misconfigured


async def test_what_a_request_names_does_not_make_the_service_unready(house: House) -> None:
    with_fallback(house)
    await house.open()
    none = {"error": {"code": "model_not_found", "message": "The model x does not exist"}}
    for _ in range(2):
        house.llm.plan(Behaviour(status=404, body=none))
        failed = await ask(house, stream=False, model="x")
        assert failed["code"] == "model_not_found"
    assert await readiness(house) == (200, "openai, scripted")


async def test_withheld_content_is_an_error_of_its_own_and_no_misconfiguration(
    house: House,
) -> None:
    house.config["default_provider"] = "filtered"
    house.config["providers"]["filtered"] = {"kind": "scripted", "fail": "refused"}
    with_fallback(house)
    await house.open()
    for stream in (True, False):
        failed = await ask(house, stream=stream)
        assert (failed["type"], failed["code"]) == ("llm_error", "refused")
    assert (await readiness(house))[0] == 200
    seen = await scrape(url_of(house))
    assert seen.total("turns_total", outcome="failed", code="refused") == 2


async def test_with_no_provider_left_it_is_not_ready_whatever_it_falls_over_for(
    house: House,
) -> None:
    house.config["fallback_on"] = "any"
    await house.open()
    house.llm.plan(Behaviour(status=401))
    assert (await house.bot.ask("Hello"))["code"] == "provider_auth"
    assert (await readiness(house))[0] == 503


async def test_an_unreachable_provider_is_passed_over_as_ever(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    with_fallback(house)
    await house.open()
    await house.llm.stop()
    for _ in range(2):
        answered = await house.bot.ask("Hello")
        assert (answered["content"], answered["provider"]) == ("fallback", "scripted")
    said = [each for each in caplog.messages if each.startswith("Provider ")]
    assert len(said) == 1
    assert said[0].startswith("Provider openai is not available; answering with scripted. (")
    assert (await readiness(house))[0] == 200
