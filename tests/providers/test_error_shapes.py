"""Tests of the shapes in which providers send errors, and of the rules for their kinds."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from providers.errors import (
    AuthenticationFailed,
    BadAnswer,
    ContentWithheld,
    ContextTooLong,
    ModelNotFound,
    ParameterRefused,
    ProviderError,
    ProviderTimeout,
    ProviderUnavailable,
    QuotaExhausted,
    RateLimited,
    WrongAddress,
)
from providers.http.error_mapping import decode_body, read_failure

NESTED = orjson.dumps({"error": {"code": 429, "message": "Slow down", "status": "X"}}).decode()
GOOGLE_KEY = {
    "error": {
        "code": 400,
        "message": "API key not valid. Please pass a valid API key.",
        "status": "INVALID_ARGUMENT",
        "details": [
            {
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "reason": "API_KEY_INVALID",
                "domain": "googleapis.com",
            }
        ],
    }
}


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ([{"error": {"message": "in a list"}}], "in a list"),
        ({"error": {"message": {"detail": "an object"}}}, "an object"),
        ({"error": {"message": ["one", "two"]}}, "one; two"),
        ({"error": {"message": {"odd": "It broke in an odd way"}}}, "It broke in an odd way"),
        ({"error": ["a list", "of texts"]}, "a list; of texts"),
        ({"error": "a string"}, "a string"),
        ({"error": True, "message": "a flag"}, "a flag"),
        ({"detail": "a detail"}, "a detail"),
        ({"detail": {"message": "in a detail"}}, "in a detail"),
        ({"detail": [{"msg": "missing", "loc": ["a"]}, {"msg": "odd"}]}, "missing ['a']; odd"),
        ({"errors": [{"message": "first"}, {"message": "second"}]}, "first; second"),
        ({"message": "bare", "type": "BadRequestError", "code": 400}, "bare"),
        (
            {"error": "Bad Request", "message": "the same and more"},
            "Bad Request: the same and more",
        ),
        ({"title": "Bad Request", "detail": "of a problem", "status": 400}, "of a problem"),
        ({"error": {"message": NESTED}}, "Slow down"),
        (NESTED, "Slow down"),
        (f"litellm.Error: {NESTED}", "litellm.Error: Slow down"),
        (f"event: error\ndata: {NESTED}", "Slow down"),
        ({"error": NESTED}, "Slow down"),
        ({"error": {"message": "Upstream", "metadata": {"raw": NESTED}}}, "Upstream: Slow down"),
        ({"error": {"message": "Upstream", "metadata": {"raw": "<html>no"}}}, "Upstream"),
        ({"type": "error", "error": {"type": "api_error", "message": "Anthropic"}}, "Anthropic"),
        ({"Message": "Amazon", "__type": "ValidationException"}, "Amazon"),
        ({"success": False, "errors": [{"code": 1, "message": "Cloud"}], "result": {}}, "Cloud"),
        ('{"error": {"message": "cut \\"off\\" in the mid', 'cut "off" in the mid'),
        ('[{"error": {"code": 400, "message": "cut off", "status": "INV', "cut off"),
        ("plain text", "plain text"),
        ("[ERROR] plain text", "[ERROR] plain text"),
        ("<LM Studio error> it is a text", "<LM Studio error> it is a text"),
        ({"error": {"message": "deep " * 3, "details": [{"message": "deep"}]}}, "deep deep deep"),
        ({"details": "only details"}, "only details"),
        ({"input": "what the user wrote", "code": 3}, ""),
        ({"error": {"code": "x"}}, ""),
        (None, ""),
        (3, ""),
    ],
)
def test_the_providers_own_sentence_is_shown_wherever_it_stands(body: Any, sentence: str) -> None:
    error = read_failure("OpenAI", body, status=409, headers={})
    said = str(error).removeprefix("OpenAI API error: 409 Conflict").removeprefix(": ")
    assert sentence in said if sentence == "of a problem" else said == sentence


def in_strings(levels: int) -> bytes:
    """Return JSON within a string within JSON, and so on."""
    body = b"deep down"
    for _ in range(levels):
        body = orjson.dumps({"error": body.decode()})
    return body


HOSTILE = {
    "open objects": b'{"a":' * 5000,
    "open lists": b"[" * 5000,
    "open strings": b'"{' * 5000,
    "no text": b"\xff\x00{",
    "an empty object": b"{}",
    "spaces": b" " * 200_000 + b"xdata:",
    "half keys": b"hf-" * 60_000,
    "slashes": b"/a" * 90_000,
    "models": b"model " * 40_000,
    "strings within strings": in_strings(14),
    "many objects": orjson.dumps([{"error": {"message": "no"}}] * 5000),
}


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_body_is_an_error_like_any_other(body: bytes) -> None:
    error = read_failure("OpenAI", decode_body(body), status=500, headers={})
    assert isinstance(error, ProviderError)


def test_what_a_server_echoes_of_the_request_says_nothing_about_the_error() -> None:
    echoed = {"type": "missing", "loc": ["body"], "msg": "no", "input": {"code": "not_found"}}
    assert type(read_failure("v", {"detail": [echoed]}, status=422, headers={})) is BadAnswer


KINDS: list[tuple[int | None, Any, type[ProviderError]]] = [
    # Google
    (400, [GOOGLE_KEY], AuthenticationFailed),
    (400, GOOGLE_KEY, AuthenticationFailed),
    (400, [{"error": {"code": 400, "message": "API key not valid."}}], AuthenticationFailed),
    (400, [{"error": {"message": "API key expired. Renew it."}}], AuthenticationFailed),
    (403, {"error": {"status": "PERMISSION_DENIED"}}, AuthenticationFailed),
    (401, {"error": {"status": "UNAUTHENTICATED"}}, AuthenticationFailed),
    (429, {"error": {"status": "RESOURCE_EXHAUSTED", "message": "Exhausted"}}, RateLimited),
    (None, [{"error": {"status": "RESOURCE_EXHAUSTED", "message": "Exhausted"}}], RateLimited),
    (
        429,
        {
            "error": {
                "status": "RESOURCE_EXHAUSTED",
                "message": "You exceeded your current quota. Please retry in 34.07s.",
            }
        },
        RateLimited,
    ),
    (
        429,
        {
            "error": {
                "status": "RESOURCE_EXHAUSTED",
                "message": "You exceeded your current quota.\n* Quota exceeded for metric: free,"
                " limit: 0\nPlease retry in 34.07s.",
            }
        },
        QuotaExhausted,
    ),
    (429, {"error": {"message": "You exceeded your current quota, check it"}}, QuotaExhausted),
    (503, {"error": {"status": "UNAVAILABLE", "message": "overloaded"}}, ProviderUnavailable),
    (504, {"error": {"status": "DEADLINE_EXCEEDED"}}, ProviderTimeout),
    (404, [{"error": {"message": "models/x is not found for v1", "status": "N"}}], ModelNotFound),
    # Anthropic, Moonshot, DashScope, litellm
    (529, {"type": "error", "error": {"type": "overloaded_error"}}, ProviderUnavailable),
    (None, {"type": "error", "error": {"type": "overloaded_error"}}, ProviderUnavailable),
    (404, {"type": "error", "error": {"type": "not_found_error", "message": "model: x"}},
     ModelNotFound),
    (None, {"error": {"type": "not_found_error", "message": "model: x"}}, ModelNotFound),
    (429, {"error": {"type": "exceeded_current_quota_error"}}, QuotaExhausted),
    (429, {"error": {"type": "engine_overloaded_error"}}, ProviderUnavailable),
    (400, {"code": "Arrearage", "message": "Access denied"}, QuotaExhausted),
    (400, {"error": {"message": "No connected db.", "code": "400"}}, AuthenticationFailed),
    (400, {"__type": "ThrottlingException", "message": "Slow"}, RateLimited),
    (400, '{"error": {"message": "You are out", "code": "insufficient_quota", "ty', QuotaExhausted),
    # Filters
    (400, {"error": {"code": "content_filter", "param": "prompt"}}, ContentWithheld),
    (400, {"error": {"innererror": {"code": "ResponsibleAIPolicyViolation"}}}, ContentWithheld),
    (400, {"error": {"code": "moderation_blocked"}}, ContentWithheld),
    (400, {"error": {"message": "Blocked", "status": "PROHIBITED_CONTENT"}}, ContentWithheld),
    (403, {"error": {"message": "It requires moderation. Your input was flagged for 'x'. No"
                     " credits were charged.", "code": 403}}, ContentWithheld),
    (403, {"error": {"code": 403, "metadata": {"flagged_input": "x"}}}, ContentWithheld),
    (403, "Content violates usage guidelines.", ContentWithheld),
    (400, {"error": {"code": "invalid_prompt", "message": "It was flagged."}}, ContentWithheld),
    (403, {"error": {"message": "You have no access", "code": 403}}, AuthenticationFailed),
    # What was not found
    (404, "", WrongAddress),
    (404, "404 page not found", WrongAddress),
    (404, "<html><body>No model here</body></html>", WrongAddress),
    (404, {"detail": "Not Found"}, WrongAddress),
    (404, "Cannot POST /chat/completions", WrongAddress),
    (404, "Cannot GET /v1/models", WrongAddress),
    (404, {"error": {"message": "Invalid URL (POST /v1/chat)", "code": None}}, WrongAddress),
    (404, {"error": {"metadata": {"error_type": "not_found"}}}, WrongAddress),
    (404, {"error": {"code": "model_not_found"}}, ModelNotFound),
    (404, {"error": "model 'x' not found"}, ModelNotFound),
    (404, {"error": 'model "x" not found, try pulling it first'}, ModelNotFound),
    (404, {"error": {"message": "No endpoints found for x/y.", "code": 404}}, ModelNotFound),
    (404, {"error": {"code": "DeploymentNotFound", "message": "No"}}, ModelNotFound),
    (405, "Method Not Allowed", WrongAddress),
    (None, {"error": "Unexpected endpoint or method. (POST /chat/completions). Returning 200"
            " anyway"}, WrongAddress),
    # A 5xx that is about the request
    (500, {"error": {"type": "invalid_request_error", "message": "no"}}, BadAnswer),
    (500, {"error": {"code": 500, "message": "Failed to parse input at pos 0", "type":
                     "server_error"}}, BadAnswer),
    (500, {"error": {"code": 500, "message": "Error: Jinja Exception: After the optional system"
                     " message, conversation roles must alternate", "type": "server_error"}},
     BadAnswer),
    (500, {"error": {"code": 500, "message": "System role not supported", "type": "server_error"}},
     ParameterRefused),
    (500, {"error": {"code": 500, "message": "Conversation roles must alternate user/assistant"}},
     ParameterRefused),
    (500, {"error": "the prompt has a broken character"}, BadAnswer),
    (500, {"error": {"message": "context length exceeded", "type": "server_error"}},
     ContextTooLong),
    (500, {"error": {"message": "The server had an error processing your request", "type":
                     "server_error"}}, ProviderUnavailable),
    (500, {"error": "llama runner process has terminated: exit status 2"}, ProviderUnavailable),
    (503, {"error": "the prompt queue is full"}, ProviderUnavailable),
    (502, "<html>prompt</html>", ProviderUnavailable),
]  # fmt: skip


@pytest.mark.parametrize(("status", "body", "kind"), KINDS)
def test_the_kind_of_an_error_is_found_in_every_shape(
    status: int | None, body: Any, kind: type[ProviderError]
) -> None:
    assert type(read_failure("OpenAI", body, status=status, headers={})) is kind


def test_a_404_that_names_the_model_that_was_asked_for_is_about_the_model() -> None:
    error = read_failure("v", "no such thing: tiny", status=404, headers={}, model="Tiny")
    assert type(error) is ModelNotFound


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("", "(check base_url; did you forget /v1?)"),
        ("/chat/completions", "(check base_url; did you forget /v1?)"),
        ("/v1/chat/completions", "(check base_url)"),
        ("/api/chat", "(check base_url)"),
    ],
)
def test_an_unknown_address_says_what_to_check(path: str, hint: str) -> None:
    error = read_failure("v", {"detail": "Not Found"}, status=404, headers={}, path=path)
    assert str(error) == f"v API error: 404 Not Found: Not Found {hint}"


FIELDS: list[tuple[int, Any, str | None]] = [
    (
        422,
        {
            "detail": [
                {
                    "type": "extra_forbidden",
                    "loc": ["body", "stream_options"],
                    "msg": "Extra inputs are not permitted",
                }
            ]
        },
        "stream_options",
    ),
    (422, {"detail": [{"loc": ["body", "stream_options", "include_usage"]}]}, "stream_options"),
    (400, {"error": "Unrecognized request argument supplied: stream_options"}, "stream_options"),
    (400, {"error": {"message": "no", "param": "temperature"}}, "temperature"),
    (400, "Unsupported value: 'temperature' does not support 0.7 with this model.", "temperature"),
    (
        400,
        "Unsupported parameter: 'max_tokens' is not supported with this model. Use"
        " 'max_completion_tokens' instead.",
        "max_tokens",
    ),
    (400, "property 'max_completion_tokens' is unsupported", "max_completion_tokens"),
    (400, "Range of max_tokens should be [1, 8192]", "max_tokens"),
    (
        400,
        {"error": {"message": "Your organization must be verified", "param": "stream"}},
        "stream",
    ),
    (400, "Your organization must be verified to stream this model.", "stream"),
    (400, "Unsupported value: 'stream' does not support true with this model.", "stream"),
    (400, {"error": '"llama3.2" does not support thinking'}, "think"),
    (400, 'Invalid JSON payload received. Unknown name "top_p": Cannot find field.', "top_p"),
    (
        400,
        {
            "error": {
                "message": "Developer instruction is not enabled for models/gemma-3-27b-it",
                "code": 400,
                "status": "INVALID_ARGUMENT",
            }
        },
        "system",
    ),
    (400, "System role not supported", "system"),
    (400, {"error": {"message": "no", "param": "messages[0].role"}}, "system"),
    (422, {"detail": [{"loc": ["body", "messages", 0, "role"], "msg": "no"}]}, "system"),
    (400, "'messages[0].role' does not support 'system' with this model.", "system"),
    (400, "Only user and assistant roles are supported!", "system"),
    (400, 'messages: Unexpected role "system".', "system"),
    (500, {"error": {"message": "Jinja Exception: Conversation roles must alternate"}}, "system"),
]


@pytest.mark.parametrize(("status", "body", "field"), FIELDS)
def test_a_refused_field_of_ours_is_named(status: int, body: Any, field: str) -> None:
    error = read_failure("OpenAI", body, status=status, headers={})
    assert type(error) is ParameterRefused
    assert error.field == field


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": "no", "param": "model"}},
        {"error": {"message": "no", "param": "messages"}},
        "upstream has a bad system_fingerprint",
        "the stream broke",
    ],
)
def test_a_field_that_is_not_optional_is_not_a_refused_one(body: Any) -> None:
    assert type(read_failure("OpenAI", body, status=400, headers={})) is BadAnswer


def test_of_a_template_error_the_exception_is_shown_not_the_source() -> None:
    source = (
        "\n------------\nWhile executing CallExpression at line 47 in source:\n" + "{{ x }}" * 99
    )
    text = f"{source}\nError: Jinja Exception: System role not supported"
    error = read_failure("local", {"error": {"message": text}}, status=500, headers={})
    assert str(error).endswith(": Jinja Exception: System role not supported")
