"""A provider that needs a person: when it counts as misconfigured, and what the log says."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from providers.base import LLMProvider, Options
from providers.chain.chain import ProviderChain
from providers.errors import (
    AuthenticationFailed,
    BadAnswer,
    ContentWithheld,
    ContextTooLong,
    HostExhausted,
    ModelNotFound,
    ParameterRefused,
    ProviderError,
    ProviderTimeout,
    ProviderUnavailable,
    QuotaExhausted,
    RateLimited,
)
from providers.openai import OpenAIProvider
from providers.scripted import ScriptedProvider
from tests.support.chain_harness import (
    ANY,
    MadeUpTime,
    Stranger,
    Way,
    chained,
    chat,
    every_way,
    scripted,
)

KEY = AuthenticationFailed("A API error: 401 Unauthorized", status=401)
MODEL = ModelNotFound("A API error: 404 Not Found", status=404)
NEEDS_PERSON = [KEY, QuotaExhausted("402"), MODEL, ParameterRefused("400")]


@pytest.fixture
def time() -> MadeUpTime:
    return MadeUpTime()


def wrong(chain: ProviderChain, name: str = "a") -> str | None:
    found = chain.statistics()[name].misconfigured
    return found and found.code


async def failing(way: Way, chain: ProviderChain, options: Options = ANY) -> None:
    with pytest.raises(ProviderError):
        await way(chain, options)


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.getMessage() for each in caplog.records if each.levelno == logging.WARNING]


@every_way
@pytest.mark.parametrize("error", NEEDS_PERSON, ids=lambda error: type(error).__name__)
async def test_a_failure_that_needs_a_person_makes_it_misconfigured_until_a_call_succeeds(
    way: Way, error: ProviderError, time: MadeUpTime
) -> None:
    chain = chained(time, scripted("a", error, BadAnswer("odd"), error, ["Hello"]))
    assert wrong(chain) is None
    for _ in range(3):
        await failing(way, chain)
        assert wrong(chain) == error.code
    await way(chain)
    assert wrong(chain) is None


@every_way
@pytest.mark.parametrize(
    "error",
    [
        ContentWithheld("filtered"),
        ProviderUnavailable("down", retry_after_s=99),
        ProviderTimeout("late"),
        RateLimited("429", retry_after_s=99),
        ContextTooLong("long"),
        HostExhausted("no files left"),
        BadAnswer("odd"),
        ProviderError("a stranger's"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_other_failures_show_nothing_about_the_configuration(
    way: Way, error: ProviderError, time: MadeUpTime
) -> None:
    chain = chained(time, scripted("a", error))
    await failing(way, chain)
    assert wrong(chain) is None


NAMED = [Options(model="m"), Options(temperature=1.5), Options(max_tokens=7)]
CONFIGURED = {"default_model": "mine", "temperature": 0.5, "max_tokens": 99}


@every_way
@pytest.mark.parametrize("error", NEEDS_PERSON, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("options", NAMED, ids=str)
async def test_what_a_request_names_never_makes_it_misconfigured(
    way: Way, error: ProviderError, options: Options, time: MadeUpTime
) -> None:
    chain = chained(time, scripted("a", error, **CONFIGURED))
    await failing(way, chain, options)
    assert wrong(chain) is None
    await failing(way, chain, Options("mine", 0.5, 99))  # the configured settings, by name
    assert wrong(chain) == error.code


async def test_only_the_same_settings_prove_a_model_but_any_answer_proves_the_key(
    time: MadeUpTime,
) -> None:
    for error, after in ((KEY, None), (MODEL, "model_not_found")):
        chain = chained(time, scripted("a", error, ["Hello"]))
        with pytest.raises(ProviderError):
            await chat(chain, ANY)
        await chat(chain, Options(model="other"))
        assert wrong(chain) == after
        await chat(chain, ANY)
        assert wrong(chain) is None


async def test_a_fallback_can_be_misconfigured_too_whatever_model_was_asked_of_the_first(
    time: MadeUpTime, caplog: pytest.LogCaptureFixture
) -> None:
    down = ProviderTimeout("late")
    chain = chained(time, scripted("a", down), scripted("b", KEY))
    with pytest.raises(ProviderTimeout):
        await chat(chain, Options(model="m"))
    assert (wrong(chain, "a"), wrong(chain, "b")) == (None, "provider_auth")
    assert warnings(caplog)[0] == (
        "Provider b refuses its key (401). Set providers.b.api_key; until then it is no fallback."
        " (A API error: 401 Unauthorized)"
    )


async def test_a_misconfigured_fallback_is_no_alternative_to_trying_again(
    time: MadeUpTime,
) -> None:
    refused = ProviderUnavailable("refused", refused=True)
    first = scripted("a", refused, refused, ["Hello"])
    chain = chained(time, first, scripted("b", KEY))
    with pytest.raises(ProviderUnavailable):
        await chat(chain, ANY)
    assert (await chat(chain, ANY)).provider == "a"


@every_way
async def test_the_log_says_once_for_each_kind_what_to_do_and_once_that_it_answers_again(
    way: Way, time: MadeUpTime, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "rosey_llm.providers")
    first = scripted("a", KEY, KEY, MODEL, KEY, MODEL, ["Hello"], ["Hello"], KEY)
    chain = chained(time, first, scripted("b"))
    for _ in range(5):
        await failing(way, chain)
    await way(chain)
    await way(chain)
    await failing(way, chain)
    key = (
        "Provider a refuses its key (401). Set providers.a.api_key; until then senders get"
        " provider_auth. (A API error: 401 Unauthorized)"
    )
    model = (
        'Provider a does not have the model (404). Set providers.a.default_model (now "scripted")'
        " to a model that it has; until then senders get model_not_found."
        " (A API error: 404 Not Found)"
    )
    assert caplog.messages == [key, model, "Provider a answers again.", key]


@every_way
async def test_the_log_says_why_the_next_provider_answers_and_only_once(
    way: Way, time: MadeUpTime, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "rosey_llm.providers")
    slow = RateLimited("A: 429", retry_after_s=99)
    first = scripted("a", KEY, KEY, slow, slow, MODEL, ["Hello"])
    chain = chained(time, first, scripted("b"), fallback_on="any")
    assert [(await way(chain))[1].provider for _ in range(6)] == ["b"] * 5 + ["a"]
    assert caplog.messages == [
        "Provider a refuses its key (401). Set providers.a.api_key; until then b is asked."
        " (A API error: 401 Unauthorized)",
        "Provider a limits the rate of calls; answering with b. (A: 429)",
        'Provider a does not have the model (404). Set providers.a.default_model (now "scripted")'
        " to a model that it has; until then b is asked. (A API error: 404 Not Found)",
        "Provider a answers again.",
    ]


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (RateLimited("429", retry_after_s=99), "limits the rate of calls"),
        (ProviderUnavailable("down", retry_after_s=99), "is not available"),
        (KEY, "refuses its key"),
        (ParameterRefused("400"), "cannot be used as it is configured"),
        (ContentWithheld("Your 'words' are bad"), "withheld its answer"),
        (ProviderError("odd"), "gave no usable answer"),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_not_available_is_said_only_of_what_is_not_available(
    error: ProviderError, text: str, time: MadeUpTime, caplog: pytest.LogCaptureFixture
) -> None:
    chain = chained(time, scripted("a", error), scripted("b"), fallback_on="any")
    await chat(chain, Options(temperature=1.5))
    words = error.code if isinstance(error, ContentWithheld) else str(error)
    assert caplog.messages == [f"Provider a {text}; answering with b. ({words})"]


def remedy(provider: LLMProvider, error: ProviderError) -> str:
    link = ProviderChain([provider])._links[0]
    found = link.misconfiguration.note_failure(error, ANY)
    assert found is not None
    return found.remedy


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({}, "Set providers.openai.api_key or OPENAI_API_KEY"),
        ({"base_url": "http://127.0.0.1:9/v1"}, "Set providers.openai.api_key"),
    ],
)
def test_the_variable_for_a_key_is_named_only_if_it_is_read(
    config: dict[str, Any], text: str
) -> None:
    assert remedy(OpenAIProvider(config), KEY) == text


def test_each_kind_of_failure_has_its_remedy() -> None:
    class Strange(ProviderError):
        needs_person = True

    remedies = {remedy(ScriptedProvider(), error) for error in NEEDS_PERSON}
    assert len(remedies) == len(NEEDS_PERSON)
    assert remedy(ScriptedProvider(), Strange("odd")) in remedies


class Locked(Stranger):
    async def start(self) -> None:
        raise KEY


async def test_a_start_that_needs_a_person_makes_it_misconfigured(
    time: MadeUpTime, caplog: pytest.LogCaptureFixture
) -> None:
    chain = chained(time, Locked(name="a"))
    await chain.start()
    assert wrong(chain) == "provider_auth"
    assert [each.startswith("Provider a refuses its key (401).") for each in caplog.messages] == [
        True
    ]


async def test_it_stays_misconfigured_over_a_change_of_others_but_not_of_its_own(
    time: MadeUpTime, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "rosey_llm.providers")
    chain = chained(time, scripted("a", KEY))
    with pytest.raises(AuthenticationFailed):
        await chat(chain, ANY)
    chain = chain.successor([scripted("a"), scripted("b")])
    assert wrong(chain) == "provider_auth"
    chain = chain.successor([scripted("a", KEY, ["Hello"], max_retries=1)])
    assert wrong(chain) is None
    with pytest.raises(AuthenticationFailed):  # the new key is wrong, too
        await chat(chain, ANY)
    await chat(chain, ANY)
    assert [each.split(" (")[0] for each in caplog.messages] == [
        "Provider a refuses its key",
        "Provider a refuses its key",
        "Provider a answers again.",
    ]
