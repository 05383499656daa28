import pytest

from providers.chain.retry import Retry, RetryLimits, delay_s
from providers.errors import (
    AuthenticationFailed,
    BadAnswer,
    ConnectionLost,
    ContextTooLong,
    EmptyAnswer,
    HostExhausted,
    IncompleteAnswer,
    ModelNotFound,
    ProviderError,
    ProviderTimeout,
    ProviderUnavailable,
    QuotaExhausted,
    RateLimited,
    WrongAddress,
)

DOWN = ProviderUnavailable("down")
REFUSED = ProviderUnavailable("refused", refused=True)


def limits(
    retries: int = 99,
    deadline_s: float = 1e9,
    alternative: bool = False,
    retry_lost: bool = True,
) -> RetryLimits:
    return RetryLimits(retries, deadline_s, alternative, retry_lost)


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (DOWN, True),
        (REFUSED, True),
        (RateLimited("429"), True),
        (ConnectionLost("lost after sending"), True),
        (EmptyAnswer("nothing"), True),
        (HostExhausted("no files"), False),
        (WrongAddress("moved"), False),
        (ProviderTimeout("late"), False),
        (AuthenticationFailed("401"), False),
        (QuotaExhausted("402"), False),
        (ModelNotFound("404"), False),
        (ContextTooLong("long"), False),
        (BadAnswer("empty"), False),
        (IncompleteAnswer("cut", partial="a"), False),
    ],
    ids=lambda value: type(value).__name__,
)
def test_only_temporary_errors_are_retried(error: ProviderError, again: bool) -> None:
    assert (delay_s(error, attempt=1, now_s=0, limits=limits(), chance=0) is not None) is again


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (ConnectionLost("lost after sending"), False),
        (EmptyAnswer("nothing"), False),
        (DOWN, True),
        (REFUSED, True),
        (RateLimited("429"), True),
    ],
    ids=lambda value: type(value).__name__,
)
def test_without_retry_lost_no_call_is_repeated_that_may_have_been_charged(
    error: ProviderError, again: bool
) -> None:
    allowed = limits(retry_lost=False)
    assert (delay_s(error, attempt=1, now_s=0, limits=allowed, chance=0) is not None) is again


def test_the_delay_doubles_up_to_eight_seconds() -> None:
    delays = [
        delay_s(DOWN, attempt=attempt, now_s=0, limits=limits(9999), chance=0)
        for attempt in (1, 2, 3, 4, 5, 6, 2000)
    ]
    assert delays == [0.5, 1, 2, 4, 8, 8, 8]


@pytest.mark.parametrize(("chance", "delay"), [(0, 1.0), (0.5, 0.875), (1, 0.75)])
def test_chance_shortens_a_delay_by_up_to_a_quarter(chance: float, delay: float) -> None:
    assert delay_s(DOWN, attempt=2, now_s=0, limits=limits(), chance=chance) == delay


@pytest.mark.parametrize(
    ("retry_after_s", "delay"),
    [(None, 0.5), (0, 0.5), (0.1, 0.5), (7, 7), (60, 60), (60.1, None), (86400, None)],
)
def test_the_providers_own_time_is_respected_up_to_a_minute(
    retry_after_s: float | None, delay: float | None
) -> None:
    error = RateLimited("429", retry_after_s=retry_after_s)
    assert delay_s(error, attempt=1, now_s=0, limits=limits(), chance=0) == delay


@pytest.mark.parametrize(
    ("error", "alternative", "again"),
    [(REFUSED, True, False), (REFUSED, False, True), (DOWN, True, True)],
)
def test_a_refused_call_goes_to_another_provider_rather_than_again(
    error: ProviderError, alternative: bool, again: bool
) -> None:
    delay = delay_s(error, attempt=1, now_s=0, limits=limits(alternative=alternative), chance=0)
    assert (delay is not None) is again


@pytest.mark.parametrize(("deadline_s", "delay"), [(10.6, 0.5), (10.5, None), (9, None)])
def test_no_attempt_is_made_that_would_begin_after_the_deadline(
    deadline_s: float, delay: float | None
) -> None:
    found = delay_s(DOWN, attempt=1, now_s=10, limits=limits(deadline_s=deadline_s), chance=0)
    assert found == delay


class Attempts:
    """A call that fails with these errors in turn and then returns "fine"; the clock is fake."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.made = 0
        self.now_s = 0.0
        self.slept: list[float] = []
        self.retry = Retry(sleep=self.sleep, clock=lambda: self.now_s, chance=lambda: 0.0)

    async def __call__(self) -> str:
        self.made += 1
        if self.errors:
            raise self.errors.pop(0)
        return "fine"

    async def sleep(self, delay_s: float) -> None:
        self.slept.append(delay_s)
        self.now_s += delay_s


async def test_a_call_that_answers_is_made_once() -> None:
    call = Attempts()
    assert await call.retry.run(call, limits()) == "fine"
    assert (call.made, call.slept) == (1, [])


async def test_a_call_is_made_again_until_it_answers() -> None:
    call = Attempts(DOWN, RateLimited("429", retry_after_s=20), DOWN)
    assert await call.retry.run(call, limits()) == "fine"
    assert (call.made, call.slept) == (4, [0.5, 20, 2])


async def test_each_error_before_a_retry_is_reported() -> None:
    slow, last = RateLimited("429"), BadAnswer("odd")
    call = Attempts(DOWN, slow, last)
    errors: list[ProviderError] = []
    with pytest.raises(BadAnswer):
        await call.retry.run(call, limits(), errors.append)
    assert errors == [DOWN, slow]


@pytest.mark.parametrize("retries", [0, 1, 2, 5])
async def test_there_is_one_attempt_more_than_retries(retries: int) -> None:
    call = Attempts(*(ProviderUnavailable(str(number)) for number in range(9)))
    with pytest.raises(ProviderUnavailable, match=str(retries)):
        await call.retry.run(call, limits(retries))
    assert call.made == retries + 1


async def test_the_deadline_ends_the_attempts() -> None:
    call = Attempts(*[DOWN] * 20)
    with pytest.raises(ProviderUnavailable):
        await call.retry.run(call, limits(20, deadline_s=3.6))
    assert (call.made, call.slept) == (4, [0.5, 1, 2])


async def test_an_error_that_says_when_keeps_its_time() -> None:
    call = Attempts(RateLimited("429", retry_after_s=3600))
    with pytest.raises(RateLimited) as caught:
        await call.retry.run(call, limits())
    assert caught.value.retry_after_s == 3600
    assert call.made == 1


async def test_a_bug_of_ours_is_not_retried() -> None:
    call = Attempts(KeyError("ours"))
    with pytest.raises(KeyError):
        await call.retry.run(call, limits())
    assert call.made == 1
