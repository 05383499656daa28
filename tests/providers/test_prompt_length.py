"""Tests of what counts as an error about a prompt that is too long: wordings of real servers."""

from __future__ import annotations

from typing import Any

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
from providers.http.error_mapping import read_failure

TOO_LONG = [
    # Google
    "The input token count (1196265) exceeds the maximum number of tokens allowed (1048575).",
    "Unable to submit request because the input token count is 40000 but model only supports up to"
    " 32768. Reduce the input token count and try again.",
    # Bedrock
    "Input is too long for requested model.",
    "Too many input tokens. Max input tokens: 8192, request input token count: 9000",
    "Malformed input request: expected maxLength of the prompt is limited to 2048, actual: 3000",
    # Anthropic
    "input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000",
    "prompt is too long: 219898 tokens > 200000 maximum",
    # Moonshot
    "Your request exceeded model token limit: 8192",
    "Invalid request: Your request exceeded model token limit: 8192 (requested: 9000)",
    # Cohere
    "too many tokens: size limit exceeded by 2000 tokens. Try using shorter or fewer inputs.",
    "too many tokens: total number of tokens (prompt and prediction) cannot exceed 2048 - received"
    " 6354. Try using a shorter prompt or a smaller max_tokens value.",
    # OpenAI, Azure, DeepSeek, vLLM
    "This model's maximum context length is 4097 tokens. However, your messages resulted in 33986"
    " tokens. Please reduce the length of the messages.",
    "This model's maximum context length is 4097 tokens, however you requested 4226 tokens (3970 in"
    " your prompt; 256 for the completion). Please reduce your prompt; or completion length.",
    "Your input exceeds the context window of this model. Please adjust your input and try again.",
    "Input tokens exceed the configured limit of 272000 tokens. Your messages resulted in 290000"
    " tokens. Please reduce the length of the messages.",
    "Invalid 'messages[1].content': string too long. Expected a string with maximum length 1048576,"
    " but got a string with length 1100000 instead.",
    "'max_tokens' or 'max_completion_tokens' is too large: 2000. This model's maximum context"
    " length is 4096 tokens and your request has 2104 input tokens (2000 > 4096 - 2104).",
    "max_tokens must be at least 1, got -904.",
    "The decoder prompt (length 9000) is longer than the maximum model length of 8192.",
    # OpenRouter
    "This endpoint's maximum context length is 163840 tokens. However, you requested about 172900"
    " tokens (9060 of text input, 163840 in the output). Please reduce the length of either one.",
    "This request exceeds the maximum allowed input length of 32000 tokens",
    # Groq
    "Please reduce the length of the messages or completion.",
    # xAI
    "This model's maximum prompt length is 131072 but the request contains 537812 tokens.",
    # Mistral
    "Prompt contains 40000 tokens and 0 draft tokens, too large for model with 32768 maximum"
    " context length",
    # Together, SGLang
    "The input (61709 tokens) is longer than the model's context length (40960 tokens).",
    "Requested token count exceeds the model's maximum context length of 32768 tokens. You"
    " requested a total of 40000 tokens.",
    "`inputs` tokens + `max_new_tokens` must be <= 4097. Given: 4000 `inputs` tokens and 1024"
    " `max_new_tokens`",
    # Hugging Face
    "Input validation error: `inputs` must have less than 4096 tokens. Given: 4545",
    # Fireworks
    "The prompt is too long: 9000, model maximum context length: 8192",
    # llama.cpp, llama-cpp-python, LM Studio, Ollama
    "the request exceeds the available context size. try increasing the context size or enable"
    " context shift",
    "input is too large to process. increase the physical batch size",
    "Requested tokens (768) exceed context window of 512",
    "Trying to keep the first 15857 tokens when context the overflows. However, the model is loaded"
    " with context length of only 4096 tokens, which is not enough.",
    "<LM Studio error> The number of tokens to keep from the initial prompt is greater than the"
    " context length.",
    "Cannot truncate prompt with n_keep (15028) >= n_ctx (7424)",
    "Context size has been exceeded.",
    "prompt is longer than the context length currently available",
    "prompt too long; exceeded max context length by 4 tokens",
    "input length exceeds the context length",
    # Others
    "prompt token count of 93854 exceeds the limit of 90000",
    "number of input tokens (204703) has exceeded max_prompt_tokens (202752) limit.",
    "invalid params, context window exceeds limit (2013)",
    "Prompt exceeds max length",
    "<400> InternalError.Algo.InvalidParameter: Range of input length should be [1, 983616]",
    "Current length is 9000 while limit is 8192",
    "Prompt has 32769 tokens, but the configured context size is 32768 tokens",
    "The estimated number of input and maximum output tokens (9000) exceeded this model context"
    " window limit (8000).",
    "Prompt length 5000 is greater than max_seq_len 4096",
    "The prompt size exceeds the context window size and cannot be processed.",
    "context_length_exceeded",
    "输入长度超过模型上下文限制",
]

CODED_TOO_LONG: list[tuple[int | None, Any]] = [
    (
        413,
        {
            "error": {
                "message": "Request too large for model `llama-3.1-8b-instant` in `org`"
                " on tokens per minute (TPM): Limit 6000, Requested 7000, please reduce your"
                " message size and try again.",
                "type": "tokens",
                "code": "rate_limit_exceeded",
            }
        },
    ),
    (
        429,
        {
            "error": {
                "message": "Request too large for gpt-4o on tokens per min (TPM): Limit 30000,"
                " Requested 342389. The input or output tokens must be reduced.",
                "code": "rate_limit_exceeded",
            }
        },
    ),
    (413, {"error": {"code": "rate_limit_exceeded"}}),
    (413, {"error": {"type": "request_too_large", "message": "too many bytes"}}),
    (413, "Request Entity Too Large"),
    (402, {"error": {"message": "Prompt tokens limit exceeded: 9841 > 9217.", "code": 402}}),
    (400, {"error": {"metadata": {"error_type": "payload_too_large"}}}),
    (500, {"error": {"code": 500, "message": "Input is too large", "type": "server_error"}}),
    (
        502,
        {
            "error": {
                "message": "Provider returned error",
                "code": 502,
                "metadata": {"raw": '{"error":{"message":"prompt is too long: 9 > 8 maximum"}}'},
            }
        },
    ),
    (
        400,
        {
            "error": {
                "message": "'max_tokens' is too large: 2000. This model's maximum context length is"
                " 4096 tokens and your request has 2104 input tokens.",
                "param": "max_tokens",
            }
        },
    ),
    (None, {"error": "The prompt is too long for this model"}),
]

OTHERS: list[tuple[int | None, Any, type[ProviderError]]] = [
    (
        429,
        "Rate limit reached for model `x` on tokens per min (TPM): Limit 30000, Used 29000,"
        " Requested 2000. Please try again in 7.66s.",
        RateLimited,
    ),
    (
        None,
        {
            "error": {
                "message": "Rate limit reached on tokens per min (TPM): Limit 30000, Used 29000.",
                "code": "rate_limit_exceeded",
            }
        },
        RateLimited,
    ),
    (400, "Your credit balance is too low to access the API.", QuotaExhausted),
    (400, "Insufficient Balance", QuotaExhausted),
    (400, "Invalid value: temperature must be in range [0, 2]", ParameterRefused),
    (
        400,
        "max_tokens is too large: 200000. This model supports at most 16384 completion tokens,"
        " whereas you provided 200000.",
        ParameterRefused,
    ),
    (
        400,
        "`max_tokens` must be less than or equal to `8192`, the maximum value for `max_tokens` is"
        " less than the `context_window` for this model",
        ParameterRefused,
    ),
    (400, "Range of max_tokens should be [1, 8192]", ParameterRefused),
    (
        400,
        "max_tokens=99 cannot be greater than max_model_len=max_total_tokens=9",
        ParameterRefused,
    ),
    (400, "max_tokens: 200000 > 8192, which is the maximum allowed number", ParameterRefused),
    (400, "The model `x` does not exist", ModelNotFound),
    (400, "The model `x` has been decommissioned and is no longer supported", ModelNotFound),
    (400, "messages: at least one message is required", BadAnswer),
    (400, "Image too large: it exceeds the maximum size of 20 MB", BadAnswer),
    (400, "Input image exceeds the limit of 5 MB", BadAnswer),
    (400, "Invalid 'tools': array too long. Expected an array with maximum length 128", BadAnswer),
    (400, "Invalid 'stop': expected maximum length 4", BadAnswer),
    (400, "Invalid 'user': string too long. Expected a string with maximum length 64", BadAnswer),
    (400, "top_logprobs must be in range [0, 20]", BadAnswer),
    (400, "Your API token has exceeded its limit", BadAnswer),
    (400, "prompt must be a string", BadAnswer),
    (400, "Invalid input: role must be one of user, assistant", BadAnswer),
    (500, "context deadline exceeded", ProviderUnavailable),
    (500, {"error": 'Post "http://127.0.0.1:1": context canceled'}, ProviderUnavailable),
    (503, "server busy: maximum pending requests exceeded", ProviderUnavailable),
    (504, {"error": {"status": "DEADLINE_EXCEEDED", "message": "deadline"}}, ProviderTimeout),
    (401, "The token limit of this key is exceeded", AuthenticationFailed),
    (404, "The maximum length of this address is exceeded", WrongAddress),
    (400, "The prompt was flagged: it exceeds the limit of the usage policy", ContentWithheld),
]


@pytest.mark.parametrize("status", [400, 413, 422, None])
@pytest.mark.parametrize("text", TOO_LONG)
def test_words_that_say_that_the_prompt_is_too_long(text: str, status: int | None) -> None:
    error = read_failure("OpenAI", {"error": {"message": text}}, status=status, headers={})
    assert type(error) is ContextTooLong


@pytest.mark.parametrize(("status", "body"), CODED_TOO_LONG)
def test_names_and_statuses_that_say_that_the_prompt_is_too_long(
    status: int | None, body: Any
) -> None:
    assert type(read_failure("OpenAI", body, status=status, headers={})) is ContextTooLong


@pytest.mark.parametrize(("status", "body", "kind"), OTHERS)
def test_words_about_another_limit_are_another_error(
    status: int | None, body: Any, kind: type[ProviderError]
) -> None:
    assert type(read_failure("OpenAI", body, status=status, headers={})) is kind


@pytest.mark.parametrize(
    ("status", "body", "doubtful"),
    [
        (400, "", True),
        (413, "", True),
        (422, {"detail": "no"}, True),
        (400, {"error": "something is off"}, True),
        (500, {"error": {"message": "oops", "type": "invalid_request_error"}}, True),
        (500, "Internal Server Error", False),
        (401, "", False),
        (404, "", False),
        (429, "", False),
        (None, {"error": "it broke"}, False),
        (400, "Unsupported parameter: temperature", False),
        (400, {"error": {"code": "context_length_exceeded"}}, False),
        (400, "The prompt is too long", True),
        (400, "Jinja Exception: After the optional system message, roles must alternate", False),
    ],
)
def test_a_refusal_without_a_known_name_may_be_one_of_length(
    status: int | None, body: Any, doubtful: bool
) -> None:
    error = read_failure("OpenAI", body, status=status, headers={})
    assert error.maybe_too_long is doubtful
