"""Tests of what a sender hears of a provider's error, over NATS, on both protocols."""

from __future__ import annotations

from typing import Any

import pytest

from tests.fakes.llm_server import Behaviour, LLMServer
from tests.support.service_harness import House

GOOGLE_KEY = b"""[{"error": {"code": 400, "message": "API key not valid. Please pass one.",
 "status": "INVALID_ARGUMENT", "details": [{"reason": "API_KEY_INVALID"}]}}]"""
GOOGLE_LIMIT = b"""[{"error": {"code": 429, "message": "Exhausted", "status": "RESOURCE_EXHAUSTED",
 "details": [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34s"}]}}]"""
TEMPLATE = {
    "error": {
        "code": 500,
        "message": "Error: Jinja Exception: After the optional system message, conversation roles"
        " must alternate",
        "type": "server_error",
    }
}
UNEXPECTED = {"error": "Unexpected endpoint or method. (POST /chat). Returning 200 anyway"}

both_ways = pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])


@pytest.fixture(params=["openai", "ollama"])
async def spoken(request: pytest.FixtureRequest, house: House) -> House:
    """A house whose provider speaks one of the protocols."""
    if request.param == "ollama":
        house.config["default_provider"] = "ollama"
        house.config["providers"] = {"ollama": {"base_url": house.llm.url, "max_retries": 0}}
    return await house.open()


async def ask(house: House, stream: bool, channel: str = "#lobby") -> dict[str, Any]:
    message = {"action": "chat", "channel_id": channel, "message": "Hi", "stream": stream}
    return await house.bot.call("llm.request", message)


@both_ways
@pytest.mark.parametrize(
    ("behaviour", "code", "sentence", "wait_s"),
    [
        (Behaviour(status=400, body=GOOGLE_KEY), "provider_auth", "API key not valid", None),
        (Behaviour(status=429, body=GOOGLE_LIMIT), "rate_limited", "Exhausted", 34),
        (Behaviour(body=UNEXPECTED), "provider_error", "check base_url", None),
        (Behaviour(status=404, body="not here"), "provider_error", "check base_url", None),
        (
            Behaviour(status=404, body={"error": "model 'x' not found"}),
            "model_not_found",
            "model 'x' not found",
            None,
        ),
        (
            Behaviour(status=400, body={"error": {"code": "content_filter", "message": "No"}}),
            "refused",
            "400 Bad Request: No",
            None,
        ),
        (
            Behaviour(status=422, body={"detail": [{"msg": "Bad", "loc": ["body", "n"]}]}),
            "provider_error",
            "Bad ['body', 'n']",
            None,
        ),
        (
            Behaviour(status=429, body={"error": "Slow down. Please try again in 7.66s."}),
            "rate_limited",
            "Slow down.",
            7.66,
        ),
        (Behaviour(status=500, body=TEMPLATE), "provider_error", "roles must alternate", None),
        (
            Behaviour(status=400, body={"message": {"detail": "No /v1/x, no models/y/z"}}),
            "provider_error",
            "No /v1/x, no models/y/z",
            None,
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_the_sender_gets_the_code_the_sentence_and_the_wait(
    spoken: House,
    behaviour: Behaviour,
    code: str,
    sentence: str,
    wait_s: float | None,
    stream: bool,
) -> None:
    spoken.llm.plan(behaviour, behaviour)  # a refused role is tried once more without it
    failure = await ask(spoken, stream)
    assert failure["code"] == code
    assert sentence in failure["error"]
    assert failure.get("retry_after_s") == wait_s


async def test_a_prompt_that_makes_a_server_fail_does_not_stop_the_calls_of_others(
    spoken: House, llm: LLMServer
) -> None:
    llm.plan(*[Behaviour(status=500, body=TEMPLATE)] * 16)  # with the system role, and without
    for _ in range(8):
        assert (await ask(spoken, stream=False))["code"] == "provider_error"
    assert (await ask(spoken, stream=False, channel="#other"))["content"] == "You said: Hi"
