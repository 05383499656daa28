"""Tests of how an error reply becomes one of our errors; the provider's kind does not matter."""

from __future__ import annotations

import email.utils
import time
from pathlib import Path
from typing import Any

import pytest

from providers.errors import (
    AuthenticationFailed,
    BadAnswer,
    ContentWithheld,
    ContextTooLong,
    ModelNotFound,
    ProviderError,
    ProviderTimeout,
    ProviderUnavailable,
    QuotaExhausted,
    RateLimited,
)
from providers.http.error_mapping import decode_body, read_failure

KEY = "sk-proj-0123456789abcdef"

REFUSALS: list[tuple[int, Any, type[ProviderError]]] = [
    (400, {"error": "something is off"}, BadAnswer),
    (400, {"error": {"code": "context_length_exceeded", "message": "long"}}, ContextTooLong),
    (400, {"error": {"type": "exceed_context_size_error", "code": 400}}, ContextTooLong),
    (400, {"error": "prompt is longer than the context length available"}, ContextTooLong),
    (400, {"error": {"message": "Your maximum context length is 8192"}}, ContextTooLong),
    (400, {"error": {"message": "foo/bar is not a valid model ID"}}, ModelNotFound),
    (400, {"error": {"message": "The model `x` does not exist"}}, ModelNotFound),
    (401, {"error": {"code": "invalid_api_key", "message": "wrong"}}, AuthenticationFailed),
    (403, "", AuthenticationFailed),
    (403, {"error": {"metadata": {"error_type": "content_policy_violation"}}}, ContentWithheld),
    (402, {"error": {"code": 402, "message": "no credits"}}, QuotaExhausted),
    (404, {"error": "model 'x' not found"}, ModelNotFound),
    (408, "", ProviderTimeout),
    (413, "", BadAnswer),
    (422, {"detail": [{"msg": "Field required", "loc": ["body", "x"]}]}, BadAnswer),
    (429, {"error": {"code": "rate_limit_exceeded"}}, RateLimited),
    (429, {"error": {"code": "insufficient_quota"}}, QuotaExhausted),
    (429, {"error": {"type": "insufficient_quota", "code": None}}, QuotaExhausted),
    (429, {"error": {"code": "credit_balance_exhausted"}}, QuotaExhausted),
    (429, {"error": "INSUFFICIENT QUOTA of calls at once"}, RateLimited),
    (500, "Internal Server Error", ProviderUnavailable),
    (502, "<html><h1>Bad Gateway</h1></html>", ProviderUnavailable),
    (503, {"error": "server busy, please try again"}, ProviderUnavailable),
    (503, {"error": {"code": "slow_down"}}, RateLimited),
    (504, "", ProviderTimeout),
    (524, "", ProviderTimeout),
    (529, {"error": {"type": "overloaded_error"}}, ProviderUnavailable),
    (302, "", BadAnswer),
    (418, [], BadAnswer),
]


@pytest.mark.parametrize(("status", "body", "error"), REFUSALS)
def test_a_refusal_is_mapped_to_its_error(
    status: int, body: Any, error: type[ProviderError]
) -> None:
    found = read_failure("OpenAI", body, status=status, headers={})
    assert type(found) is error
    assert found.status == status
    assert str(found).startswith(f"OpenAI API error: {status}")


@pytest.mark.parametrize(
    ("sent", "body"), [(b'{"error": "busy"}', {"error": "busy"}), (b"[]", []), (b"\xff", "\ufffd")]
)
def test_a_body_is_its_json_or_its_text(sent: bytes, body: object) -> None:
    assert decode_body(sent) == body


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ("", ""),
        ("<html>no</html>", ""),
        (" <!DOCTYPE html><p>no", ""),
        ("Please  do\nnot", ": Please do not"),
        ({"error": "as a string"}, ": as a string"),
        ({"error": {"message": "as an object"}}, ": as an object"),
        ({"detail": "as a detail"}, ": as a detail"),
        ({"message": "bare"}, ": bare"),
        ({"error": {"message": None}}, ""),
        ({"error": {"message": {"odd": 1}}}, ""),
        ({"error": {"message": "bad value", "param": "top_p"}}, ": bad value (parameter top_p)"),
        ({"detail": [{"msg": "missing", "loc": ["a"]}]}, ": missing ['a']"),
        ({"error": {"message": "Upstream", "metadata": {"raw": "it died"}}}, ": Upstream: it died"),
        ([1], ""),
    ],
)
def test_the_sentence_has_the_status_and_the_providers_own_words(body: Any, sentence: str) -> None:
    error = read_failure("OpenAI", body, status=401, headers={})
    assert str(error) == f"OpenAI API error: 401 Unauthorized{sentence}"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (f"Incorrect API key provided: {KEY}.", "Incorrect API key provided: ***."),
        ("my own secret word", "my own *** word"),
        ("key sk-abc***wxyz is bad", "key *** is bad"),
        ("Authorization: Bearer abc.def", "Authorization: Bearer ***"),
        ("cannot open /home/bot/models/llama.gguf", "cannot open (path)"),
        ("cannot open:/home/bot/models/llama.gguf", "cannot open:(path)"),
        ("cannot open C:\\models\\x.gguf", "cannot open (path)"),
        ("see https://example.org/a/b for more", "see https://example.org/a/b for more"),
        ("anthropic/claude-3/x", "anthropic/claude-3/x"),
        ("models/gemma-3-27b-it is not there", "models/gemma-3-27b-it is not there"),
        ("no meta-llama/Llama-3/x", "no meta-llama/Llama-3/x"),
        ("no hf-internal/tiny-model", "no hf-internal/tiny-model"),
        ("POST /v1/chat/completions", "POST /v1/chat/completions"),
        ("(POST /v1/chat/completions)", "(POST /v1/chat/completions)"),
        ("no route /openai/deployments/x", "no route /openai/deployments/x"),
        ("see ~/models/x.gguf", "see (path)"),
        ("see file:///models/x.gguf", "see (path)"),
        (f"cannot open {Path.home()}/my x.gguf", "cannot open (path) x.gguf"),
        (f"cannot open '{Path.cwd()}/x.gguf'", "cannot open '(path)'"),
        (f"cannot open {Path(__file__)}", "cannot open (path)"),
        ("key AIzaSyA0123456789abcdef is bad", "key *** is bad"),
        ("key hf_abcdefghijklmnopqrstuv is bad", "key *** is bad"),
        ("key hf_ab***yz is bad", "key *** is bad"),
        ("red \x1b[31m alert\x00", "red [31m alert"),
        ("x" * 500, "x" * 197 + "..."),
    ],
)
def test_keys_paths_and_control_characters_stay_out_of_a_sentence(text: str, told: str) -> None:
    error = read_failure("OpenAI", text, status=400, headers={}, secrets=[KEY, "secret"])
    assert str(error) == f"OpenAI API error: 400 Bad Request: {told}"


def test_a_server_that_is_loading_its_model_is_reported_as_starting() -> None:
    error = read_failure(
        "vllm", {"error": {"message": "Loading model", "code": 503}}, status=503, headers={}
    )
    assert isinstance(error, ProviderUnavailable)
    assert "starting" in str(error)


@pytest.mark.parametrize(
    ("headers", "error", "seconds"),
    [
        ({}, {}, None),
        ({"retry-after": "7"}, {}, 7.0),
        ({"retry-after": "0"}, {}, 0.0),
        ({"retry-after": "1.5"}, {}, 1.5),
        ({"retry-after-ms": "250", "retry-after": "7"}, {}, 0.25),
        ({"retry-after": "-3"}, {}, None),
        ({"retry-after": "nan"}, {}, None),
        ({"retry-after": "1e999"}, {}, None),
        ({"retry-after": "soon"}, {}, None),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, {}, None),
        ({"retry-after": "Wed, 99 Oct 99999 07:28:00 GMT"}, {}, None),
        ({}, {"availability": {"retry_after": 12}}, 12.0),
        ({}, {"metadata": {"retry_after_seconds": "3"}}, 3.0),
        ({}, {"metadata": {"retry_after": True}}, None),
        ({"retry-after": "86400"}, {}, 86400.0),
        ({"retry-after": "86401"}, {}, None),
        ({"retry-after-ms": "86400001"}, {}, None),
        ({"retry-after": "999999999"}, {"retry_after": 5}, 5.0),
        ({}, {"retry_after": float("nan")}, None),
        ({}, {"retry_after": -1}, None),
        ({}, {"retry_after": 90000}, None),
        ({}, {"details": [{"@type": "RetryInfo", "retryDelay": "34s"}]}, 34.0),
        ({}, {"details": [{"retryDelay": "34.074824224s"}]}, 34.074824224),
        ({}, {"details": [{"retryDelay": {"seconds": 3}}]}, 3.0),
        ({}, {"details": [{"retryDelay": "soon"}]}, None),
        ({}, {"details": [{"retryDelay": "99999999s"}]}, None),
        ({}, {"message": "Please try again in 7.66s. Visit us."}, 7.66),
        ({}, {"message": "Please try again in 6m0s."}, 360.0),
        ({}, {"message": "Please try again in 1h2m3.5s."}, 3723.5),
        ({}, {"message": "Please try again in 120ms."}, 0.12),
        ({}, {"message": "Please retry after 20 seconds."}, 20.0),
        ({}, {"message": "Please retry in 34.07s."}, 34.07),
        ({}, {"message": "Try again in 2 minutes and 5 seconds"}, 125.0),
        ({}, {"message": "Please wait 3 seconds"}, 3.0),
        ({}, {"message": "Please try again in 1 day"}, 86400.0),
        ({}, {"message": "Please try again in 2 days"}, None),
        ({}, {"message": "Please try again in 5 shakes"}, None),
        ({}, {"message": "Please try again later. It took 5s."}, None),
        ({}, {"message": "Model is loading", "estimated_time": 20.5}, 20.5),
        ({"x-ratelimit-reset-requests": "6m0s", "x-ratelimit-reset-tokens": "1s"}, {}, 1.0),
        (
            {
                "x-ratelimit-reset-requests": "6m0s",
                "x-ratelimit-remaining-requests": "0",
                "x-ratelimit-reset-tokens": "1s",
            },
            {},
            360.0,
        ),
        ({"x-ratelimit-reset": "12"}, {}, 12.0),
        ({"x-ratelimit-reset": "1000000000"}, {}, None),
        ({"x-ratelimit-reset": "nan"}, {}, None),
        ({"x-ratelimit-reset-tokens": "1s"}, {"message": "Try again in 9s"}, 9.0),
    ],
)
def test_the_wait_that_a_provider_asks_for_is_read_if_it_is_valid(
    headers: dict[str, str], error: dict[str, Any], seconds: float | None
) -> None:
    found = read_failure("OpenAI", {"error": error}, status=429, headers=headers)
    assert found.retry_after_s == seconds


def test_a_wait_may_be_a_date() -> None:
    date = email.utils.formatdate(time.time() + 3600, usegmt=True)
    error = read_failure("OpenAI", "", status=429, headers={"retry-after": date})
    assert error.retry_after_s is not None
    assert 0 < error.retry_after_s <= 3600


@pytest.mark.parametrize("unit", [1, 1000])
@pytest.mark.parametrize("in_body", [True, False])
def test_a_wait_may_be_a_point_in_time(unit: int, in_body: bool) -> None:
    reset = str(int((time.time() + 3600) * unit))
    body = {"error": {"metadata": {"headers": {"X-RateLimit-Reset": reset}}}} if in_body else ""
    headers = {} if in_body else {"x-ratelimit-reset": reset}
    error = read_failure("OpenRouter", body, status=429, headers=headers)
    assert error.retry_after_s is not None
    assert 3000 < error.retry_after_s <= 3600


@pytest.mark.parametrize("days", [-1, 2])
def test_a_point_in_time_that_is_past_or_far_away_is_no_wait(days: int) -> None:
    reset = int((time.time() + days * 86400) * 1000)
    body = {"error": {"metadata": {"headers": {"X-RateLimit-Reset": reset}}}}
    assert read_failure("OpenRouter", body, status=429, headers={}).retry_after_s is None


def test_headers_about_limits_say_nothing_about_other_errors() -> None:
    headers = {"x-ratelimit-reset-requests": "6m0s"}
    assert read_failure("OpenAI", "", status=400, headers=headers).retry_after_s is None
