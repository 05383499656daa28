"""Tests that what a model refuses of a request is left out, and that it is asked only once."""

from __future__ import annotations

from typing import Any

import pytest

from providers.base import Message, Options
from providers.errors import BadAnswer, ContextTooLong, ParameterRefused, ProviderError
from providers.http.adaptation import system_in_user
from tests.fakes.llm_server import Behaviour, LLMServer
from tests.support.wire_replies import (
    events,
    ollama_at,
    openai_at,
    refusal,
    streamed,
    whole,
)

SYSTEM = Message("system", "Be brief.")
PROMPT = [SYSTEM, Message("user", "one"), Message("assistant", "1"), Message("user", "two")]
MOVED = [
    {"role": "user", "content": "Be brief.\n\none"},
    {"role": "assistant", "content": "1"},
    {"role": "user", "content": "two"},
]
JINJA = (
    "\n------------\nWhile executing CallExpression at line 1, column 203 in source:\n"
    + "...{{ raise_exception('...') }}" * 20
    + "\nError: Jinja Exception: Conversation roles must alternate user/assistant/user/..."
)

SYSTEM_REFUSED: dict[str, tuple[int, Any]] = {
    "gemma at google": (
        400,
        {
            "error": {
                "message": "Developer instruction is not enabled for models/gemma-3-27b-it",
                "code": 400,
                "status": "INVALID_ARGUMENT",
            }
        },
    ),
    "a list of one": (
        400,
        [{"error": {"code": 400, "message": "Developer instruction is not enabled for models/x"}}],
    ),
    "vllm": (400, {"object": "error", "message": "System role not supported", "code": 400}),
    "openai o1": (
        400,
        {
            "error": {
                "message": "Unsupported value: 'messages[0].role' does not support 'system' with "
                "this model.",
                "param": "messages[0].role",
                "code": "unsupported_value",
            }
        },
    ),
    "only its place": (422, {"error": {"message": "Invalid value", "param": "messages.0.role"}}),
    "roles must alternate": (
        400,
        {"error": "Conversation roles must alternate user/assistant/user/assistant/..."},
    ),
    "a template of llama.cpp": (
        500,
        {"error": {"code": 500, "message": JINJA, "type": "server_error"}},
    ),
    "in fastapi's detail": (400, {"detail": "The model does not support system messages."}),
    "only two roles": (
        400,
        {"error": {"message": "Only 'user' and 'assistant' roles are supported!"}},
    ),
    "an unknown role": (422, {"detail": [{"msg": "unexpected role: system", "loc": ["body"]}]}),
}


@pytest.mark.parametrize("name", SYSTEM_REFUSED)
@pytest.mark.parametrize("ask", [whole, streamed])
async def test_a_refused_system_role_is_moved_into_the_first_user_text(
    llm: LLMServer, name: str, ask: Any
) -> None:
    status, error = SYSTEM_REFUSED[name]
    llm.plan(refusal(error, status))
    async with openai_at(llm) as provider:
        answers = [await ask(provider, PROMPT), await ask(provider, PROMPT)]
    assert llm.prompts == [
        [{"role": m.role, "content": m.content} for m in PROMPT],
        MOVED,
        MOVED,  # it is remembered
    ]
    assert [answer.sent_as for answer in answers] == [("system_in_user",)] * 2
    assert answers[0].content == "You said: two"


@pytest.mark.parametrize("ask", [whole, streamed])
async def test_ollama_may_refuse_the_system_role_too(llm: LLMServer, ask: Any) -> None:
    llm.plan(refusal({"error": "template: System role not supported"}, 500))
    async with ollama_at(llm) as provider:
        answers = [await ask(provider, PROMPT), await ask(provider, PROMPT)]
    assert llm.prompts[1:] == [MOVED, MOVED]
    assert [answer.sent_as for answer in answers] == [("system_in_user",)] * 2


async def test_a_refusal_within_a_reply_of_status_200_counts(llm: LLMServer) -> None:
    error = {"message": "Error rendering prompt with jinja template: System role not supported"}
    for ask, reply in (
        (whole, Behaviour(body={"error": error})),
        (streamed, Behaviour(body={"error": error})),
        (streamed, events({"error": error})),
    ):
        llm.plan(reply)
        async with openai_at(llm) as provider:
            assert (await ask(provider, PROMPT)).sent_as == ("system_in_user",)


async def test_each_model_is_asked_for_the_system_role(llm: LLMServer) -> None:
    llm.plan(refusal({"error": "System role not supported"}))
    async with openai_at(llm) as provider:
        assert (await whole(provider, PROMPT)).sent_as
        assert not (await whole(provider, PROMPT, Options(model="another"))).sent_as
        # A prompt without a system text is sent as it is.
        assert not (await whole(provider)).sent_as


@pytest.mark.parametrize("status", [400, 500])
async def test_a_system_role_that_cannot_be_moved_needs_a_person(
    llm: LLMServer, status: int
) -> None:
    llm.plan(*[refusal({"error": "System role not supported"}, status)] * 4)
    async with openai_at(llm) as provider:
        for ask in (whole, streamed):
            with pytest.raises(ParameterRefused, match="System role not supported"):
                await ask(provider, PROMPT)
    assert len(llm.prompts) == 4


async def test_an_error_that_only_speaks_of_a_system_changes_nothing(llm: LLMServer) -> None:
    llm.plan(refusal({"error": {"message": "System overloaded, message not processed"}}, 500))
    async with openai_at(llm) as provider:
        with pytest.raises(ProviderError):
            await whole(provider, PROMPT)
    assert len(llm.prompts) == 1


def test_system_texts_go_before_the_next_user_text_and_roles_alternate() -> None:
    assert system_in_user(
        [
            SYSTEM,
            Message("assistant", "Hi"),
            Message("user", "a"),
            Message("user", "b"),
            Message("system", "c"),
        ]
    ) == [Message("user", "Be brief."), Message("assistant", "Hi"), Message("user", "a\n\nb\n\nc")]
    assert system_in_user([Message("system", ""), Message("user", "a")]) == [Message("user", "a")]


# --- Fields


def extra_forbidden(field: str) -> dict[str, Any]:
    entry = {
        "type": "extra_forbidden",
        "loc": ["body", field],
        "msg": "Extra inputs are not permitted",
        "input": {"temperature": 1},
    }
    return {"detail": [entry]}


def unsupported(field: str) -> dict[str, Any]:
    return {
        "error": {
            "message": f"Unsupported parameter: '{field}' is not supported with this model.",
            "type": "invalid_request_error",
            "param": field,
            "code": "unsupported_parameter",
        }
    }


WORDINGS = {
    "fastapi": (422, extra_forbidden),
    "mistral": (422, lambda field: {"object": "error", "message": extra_forbidden(field)}),
    "openai": (400, unsupported),
    "unrecognized": (
        400,
        lambda field: {"error": {"message": f"Unrecognized request argument supplied: {field}"}},
    ),
    "x is not supported": (400, lambda field: {"error": f"{field} is not supported"}),
    "a list of what is known": (
        400,
        lambda field: {
            "error": f"unknown field `{field}`, expected one of model, messages, stream, "
            "stream_options, temperature, max_tokens"
        },
    ),
    "bare text": (400, lambda field: f"property '{field}' is unsupported"),
}
FIELDS = ["stream_options", "temperature", "max_tokens", "stream"]


@pytest.mark.parametrize("name", WORDINGS)
@pytest.mark.parametrize("field", FIELDS)
async def test_a_refused_field_is_left_out_from_then_on(
    llm: LLMServer, name: str, field: str
) -> None:
    status, error = WORDINGS[name]
    llm.plan(refusal(error(field), status))
    async with openai_at(llm, max_tokens_field="max_tokens", max_tokens=9) as provider:
        answers = [await streamed(provider), await streamed(provider)]
    assert [answer.content for answer in answers] == ["You said: Hello"] * 2
    sent = [field in request.body for request in llm.requests]
    assert sent == [True, False, False]
    others = {"temperature", "max_tokens"} - {field}
    assert all(others <= request.body.keys() for request in llm.requests)


async def test_a_model_that_may_not_stream_gives_its_answer_in_one_piece(llm: LLMServer) -> None:
    error = {
        "message": "Your organization must be verified to stream this model.",
        "param": "stream",
        "code": "unsupported_value",
    }
    llm.plan(refusal({"error": error}))
    async with openai_at(llm) as provider:
        items = [item async for item in provider.stream(PROMPT, Options())]
        assert items[0] == "You said: two"
        assert len(items) == 2
        await streamed(provider)
    first, *later = (request.body for request in llm.requests)
    assert first["stream"] is True
    assert not any({"stream", "stream_options"} & body.keys() for body in later)


async def test_a_whole_answer_may_lack_fields_too(llm: LLMServer) -> None:
    llm.plan(refusal(extra_forbidden("stream"), 422), refusal(unsupported("temperature")))
    async with openai_at(llm) as provider:
        answer = await whole(provider)
    assert llm.requests[-1].body.keys() == {"model", "messages"}
    assert answer.sent_as == ("without_temperature",)


async def test_all_fields_may_be_refused_one_after_the_other(llm: LLMServer) -> None:
    fields = ["stream_options", "temperature", "max_tokens", "max_completion_tokens", "stream"]
    llm.plan(*(refusal(unsupported(field)) for field in fields))
    async with openai_at(llm, max_tokens=9) as provider:
        answer = await streamed(provider)
        await streamed(provider)
    assert len(llm.requests) == len(fields) + 2
    assert llm.requests[-1].body.keys() == {"model", "messages"}
    assert answer.sent_as == ("without_temperature", "without_max_tokens")


async def test_a_limit_that_is_too_large_is_not_sent_but_a_smaller_one_is(llm: LLMServer) -> None:
    error = (
        "max_tokens is too large: 20000. This model supports at most 16384 completion tokens, "
        "whereas you provided 20000."
    )
    llm.plan(refusal({"error": {"message": error, "param": "max_tokens"}}))
    async with openai_at(llm) as provider:
        for cap in (20000, 20000, 500):
            await whole(provider, options=Options(max_tokens=cap))
    caps = [request.body.get("max_tokens") for request in llm.requests]
    assert caps == [20000, None, None, 500]
    assert not any("max_completion_tokens" in request.body for request in llm.requests)


async def test_a_limit_that_is_too_large_beside_this_prompt_needs_a_shorter_prompt(
    llm: LLMServer,
) -> None:
    error = "'max_tokens' is too large: 900. Your request has 1500 input tokens (900 > 2048-1500)."
    llm.plan(refusal({"error": {"message": error, "code": 400}}))
    async with openai_at(llm, max_tokens=900) as provider:
        with pytest.raises(ContextTooLong):
            await whole(provider)
        await whole(provider)
    assert ["max_tokens" in request.body for request in llm.requests] == [True, True]


async def test_a_field_may_be_refused_with_status_500(llm: LLMServer) -> None:
    llm.plan(refusal(unsupported("temperature"), 500))
    async with openai_at(llm) as provider:
        assert (await whole(provider)).sent_as == ("without_temperature",)
    assert len(llm.requests) == 2


async def test_a_prompt_that_is_too_long_is_no_refused_field(llm: LLMServer) -> None:
    error = "This model's maximum context length is 4097 tokens; reduce max_tokens or the messages."
    llm.plan(refusal({"error": {"message": error, "code": "context_length_exceeded"}}))
    async with openai_at(llm, max_tokens=900) as provider:
        with pytest.raises(ContextTooLong):
            await whole(provider)
    assert len(llm.requests) == 1


@pytest.mark.parametrize("status", [401, 403, 404, 429, 503])
async def test_only_a_refused_request_is_changed(llm: LLMServer, status: int) -> None:
    llm.plan(refusal(unsupported("temperature"), status))
    async with openai_at(llm) as provider:
        with pytest.raises(ProviderError) as caught:
            await whole(provider)
    assert not isinstance(caught.value, ParameterRefused)
    assert len(llm.requests) == 1


async def test_an_error_about_the_rest_of_the_request_stays_what_it_is(llm: LLMServer) -> None:
    llm.plan(refusal({"error": "the stream of thoughts was cut"}), refusal({"error": "no model"}))
    async with openai_at(llm) as provider:
        for _ in range(2):
            with pytest.raises(BadAnswer):
                await streamed(provider)
    assert len(llm.requests) == 2


async def test_values_that_were_refused_are_remembered_up_to_a_limit(llm: LLMServer) -> None:
    async with openai_at(llm) as provider:
        for number in range(40):
            error = {"message": "temperature must be between 0 and 1", "param": "temperature"}
            llm.plan(refusal({"error": error}))
            await whole(provider, options=Options(temperature=1 + number / 100))
        assert len(provider._refusals._by_model["gpt-4"]) == 32


# --- Ollama's fields

OLLAMA_REFUSED = {
    "think": {"error": '"llama3.2" does not support thinking'},
    "keep_alive": {"error": 'time: missing unit in duration "10"'},
    "num_ctx": {"error": "invalid option: num_ctx is not supported"},
    "num_predict": {"error": "unknown option num_predict"},
    "temperature": extra_forbidden("temperature"),
}


@pytest.mark.parametrize("field", OLLAMA_REFUSED)
@pytest.mark.parametrize("ask", [whole, streamed])
async def test_ollama_may_refuse_a_field(llm: LLMServer, field: str, ask: Any) -> None:
    llm.capabilities = ["completion", "thinking"]
    llm.plan(refusal(OLLAMA_REFUSED[field]))
    async with ollama_at(llm, keep_alive="10m") as provider:
        assert (await ask(provider)).content == "You said: Hello"
        await ask(provider)
    chats = [request.body for request in llm.requests if request.path == "/api/chat"]
    assert [field in {**body, **body["options"]} for body in chats] == [True, False, False]


async def test_an_ollama_that_may_not_stream_is_asked_for_the_whole(llm: LLMServer) -> None:
    llm.plan(refusal({"error": "streaming is not supported"}))
    async with ollama_at(llm) as provider:
        assert (await streamed(provider)).content == "You said: Hello"
        await streamed(provider)
    chats = [request.body for request in llm.requests if request.path == "/api/chat"]
    assert [body["stream"] for body in chats] == [True, False, False]


async def test_an_ollama_that_refuses_twice_needs_a_person(llm: LLMServer) -> None:
    llm.plan(*[refusal({"error": "unknown option num_ctx"})] * 2)
    async with ollama_at(llm) as provider:
        with pytest.raises(ParameterRefused, match="num_ctx"):
            await whole(provider)
    assert len(llm.prompts) == 2
