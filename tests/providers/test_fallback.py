"""The fallback rule: which failures the next provider answers for, and which the caller gets."""

from __future__ import annotations

import pytest

from providers.base import Options, Status
from providers.chain import fallback
from providers.chain.fallback import FallbackOn
from providers.errors import (
    AuthenticationFailed,
    ContentWithheld,
    ContextTooLong,
    HostExhausted,
    IncompleteAnswer,
    ModelNotFound,
    ParameterRefused,
    ProviderError,
    QuotaExhausted,
)
from tests.support.chain_harness import (
    ANY,
    MadeUpTime,
    Way,
    chained,
    chat,
    chatted,
    every_way,
    scripted,
)

FALLBACK_ON: tuple[FallbackOn, ...] = ("passing", "any")
NEVER_FALL_OVER = [
    (ContextTooLong("too long"), ANY),
    (IncompleteAnswer("cut", partial="a"), ANY),
    (HostExhausted("no files left"), ANY),
    (ModelNotFound("no such model"), Options(model="m")),
]
WILL_NOT_PASS = [
    (AuthenticationFailed("401"), ANY),
    (QuotaExhausted("402"), ANY),
    (ModelNotFound("404"), ANY),
    (ParameterRefused("400"), Options(temperature=1.5)),
    (ContentWithheld("filtered"), ANY),
]


def error_name(value: object) -> str:
    return type(value).__name__


@pytest.fixture
def time() -> MadeUpTime:
    return MadeUpTime()


@every_way
@pytest.mark.parametrize(("error", "options"), [*NEVER_FALL_OVER, *WILL_NOT_PASS], ids=error_name)
async def test_failures_that_do_not_pass_go_to_the_caller(
    way: Way, error: ProviderError, options: Options, time: MadeUpTime
) -> None:
    spare = scripted("spare")
    with pytest.raises(type(error)) as caught:
        await way(chained(time, scripted("first", error), spare), options)
    assert caught.value is error
    assert not spare.calls


@every_way
@pytest.mark.parametrize(("error", "options"), WILL_NOT_PASS, ids=error_name)
async def test_if_it_is_wanted_the_next_provider_answers_for_what_does_not_pass(
    way: Way, error: ProviderError, options: Options, time: MadeUpTime
) -> None:
    first = scripted("first", error)
    chain = chained(time, first, scripted("spare"), fallback_on="any")
    assert (await way(chain, options))[1].provider == "spare"
    assert len(first.calls) == 1


@every_way
@pytest.mark.parametrize(("error", "options"), NEVER_FALL_OVER, ids=error_name)
async def test_some_failures_always_go_to_the_caller(
    way: Way, error: ProviderError, options: Options, time: MadeUpTime
) -> None:
    spare = scripted("spare")
    chain = chained(time, scripted("first", error), spare, fallback_on="any")
    with pytest.raises(type(error)):
        await way(chain, options)
    assert not spare.calls


async def test_a_failure_class_of_a_stranger_that_does_not_fall_over_never_does(
    time: MadeUpTime,
) -> None:
    class Strange(ProviderError):
        falls_over = False

    for fallback_on in FALLBACK_ON:
        first, spare = scripted("first", Strange("odd")), scripted("spare")
        with pytest.raises(Strange):
            await chatted(chained(time, first, spare, fallback_on=fallback_on))


async def test_a_successor_falls_over_as_its_settings_say(time: MadeUpTime) -> None:
    providers = [scripted("first", fail="provider_auth"), scripted("spare")]
    chain = chained(time, *providers)
    successor = chain.successor(providers, fallback_on="any")
    assert (await chat(successor, ANY)).provider == "spare"
    with pytest.raises(AuthenticationFailed):
        await chat(successor.successor(providers), ANY)


UP, DOWN_NOW, KEY_WRONG = Status(True), Status(False, "down"), Status(False, "401", True)


@pytest.mark.parametrize(
    ("statuses", "passing", "any_"),
    [
        ([UP, KEY_WRONG], True, True),
        ([DOWN_NOW, UP], True, True),
        ([DOWN_NOW, DOWN_NOW], False, False),
        ([KEY_WRONG, UP], False, True),
        ([KEY_WRONG], False, False),
        ([DOWN_NOW, KEY_WRONG, UP], False, True),
        ([], False, False),
    ],
)
def test_a_chain_could_answer_if_a_provider_is_available_that_it_falls_over_to(
    statuses: list[Status], passing: bool, any_: bool
) -> None:
    assert fallback.could_answer(statuses, "passing") is passing
    assert fallback.could_answer(statuses, "any") is any_
