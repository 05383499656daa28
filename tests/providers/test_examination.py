"""What a provider finds wrong with its address, its key and its model, and what it costs."""

from __future__ import annotations

from typing import Any

import pytest

from providers.base import Status
from providers.http import model_names
from providers.http.address_probe import chat_addresses, ollama_addresses
from providers.ollama import OllamaProvider
from providers.openai import OpenAIProvider
from providers.openrouter import OpenRouterProvider
from tests.fakes.llm_server import Behaviour, LLMServer

UNEXPECTED = "Unexpected endpoint or method. (POST /chat/completions). Returning 200 anyway"
TLS = "Client sent an HTTP request to an HTTPS server."
# How servers that know only /v1/... answer for other paths.
UNKNOWN_PATH = {
    "404 text": Behaviour(status=404, body="404 page not found", content_type="text/plain"),
    "404 JSON": Behaviour(status=404, body={"detail": "Not Found"}),
    "404 page": Behaviour(status=404, body="<html>no</html>", content_type="text/html"),
    "405": Behaviour(status=405, body={"detail": "Method Not Allowed"}),
    "200 error": Behaviour(body={"error": UNEXPECTED}),
    "200 page": Behaviour(body="<!doctype html><html></html>", content_type="text/html"),
    "200 JSON": Behaviour(body={"status": "ok"}),
    "redirect": Behaviour(status=308, headers={"Location": "/v1/"}, body=""),
}


async def openai(server: LLMServer, path: str = "/v1", **config: Any) -> Status:
    config = {"base_url": server.url + path, "api_key": "sk-test-key"} | config
    async with OpenAIProvider(config, name="vllm") as provider:
        return await provider.diagnose()


async def ollama(base_url: str, **config: Any) -> Status:
    async with OllamaProvider({"base_url": base_url} | config) as provider:
        return await provider.diagnose()


# --- The address


@pytest.mark.parametrize("unknown", UNKNOWN_PATH)
async def test_an_address_without_v1_is_wrong_and_the_right_one_is_named(
    server: LLMServer, unknown: str
) -> None:
    for path in ("/models", "/chat/completions"):
        server.routes[path] = UNKNOWN_PATH[unknown]
    status = await openai(server, "")
    assert (status.available, status.misconfigured) == (False, True)
    assert status.detail.startswith(f"vllm has no chat at {server.url}/chat/completions (")
    assert status.detail.endswith(f'; did you mean base_url = "{server.url}/v1"?')


@pytest.mark.parametrize("unknown", UNKNOWN_PATH)
async def test_the_status_without_a_diagnosis_knows_it_too_and_tries_no_other_address(
    server: LLMServer, unknown: str
) -> None:
    for path in ("/models", "/chat/completions"):
        server.routes[path] = UNKNOWN_PATH[unknown]
    async with OpenAIProvider({"base_url": server.url}, name="vllm") as provider:
        status = await provider.status()
        assert not await provider.is_available()
    assert (status.available, status.misconfigured) == (False, True)
    assert {each.path for each in server.requests} == {"/models", "/chat/completions"}


@pytest.mark.parametrize(
    "path",
    [
        *("/v1/chat/completions", "/v1/chat", "/v1/models", "/v1/completions", "/v1/responses"),
        *("/v1/v1", "/v2", "/api", "/api/chat", "/api/generate", "/chat/completions", "/openai"),
    ],
)
async def test_the_right_address_is_found_from_what_people_write(
    server: LLMServer, path: str
) -> None:
    status = await openai(server, path)
    assert (status.available, status.misconfigured) == (False, True)
    assert status.detail.endswith(f'; did you mean base_url = "{server.url}/v1"?')


async def test_openrouter_without_its_path_is_wrong_too(server: LLMServer) -> None:
    server.routes["/v1/chat/completions"] = UNKNOWN_PATH["200 page"]
    config = {"base_url": server.url, "api_key": "sk-or-key"}
    async with OpenRouterProvider(config) as provider:
        status = await provider.diagnose()
        assert not await provider.is_available()
    assert status.misconfigured
    assert "/v1" in status.detail.partition("did you mean")[2]


async def test_an_address_at_which_nothing_is_known_names_the_setting(server: LLMServer) -> None:
    server.plan(*[UNKNOWN_PATH["404 text"]] * 10)
    status = await openai(server, "/deep/below")
    assert status.misconfigured
    assert status.detail.endswith("; check providers.vllm.base_url")


async def test_only_the_server_that_was_configured_gets_the_key(server: LLMServer) -> None:
    await openai(server, "/nowhere")
    assert {each.headers.get("authorization") for each in server.requests} == {"Bearer sk-test-key"}
    async with LLMServer() as plain:
        base_url = plain.url.replace("http:", "https:") + "/v1"
        async with OpenAIProvider({"base_url": base_url, "api_key": "sk-test-key"}) as provider:
            status = await provider.diagnose()
        assert plain.requests
        assert not [each for each in plain.requests if "authorization" in each.headers]
        assert status.detail.endswith(f'did you mean base_url = "{plain.url}/v1"?')


async def test_a_server_that_expects_tls_says_so(server: LLMServer) -> None:
    for path in ("/v1/models", "/models", "/chat/completions"):
        server.routes[path] = Behaviour(status=400, body=TLS)
    status = await openai(server, "")
    assert status.misconfigured
    assert TLS in status.detail


@pytest.mark.parametrize(
    "path", ["/v1", "/api", "/api/chat", "/api/generate", "/v1/chat/completions", "/api/api"]
)
async def test_the_address_of_ollama_has_no_path(server: LLMServer, path: str) -> None:
    status = await ollama(server.url + path)
    assert (status.available, status.misconfigured) == (False, True)
    assert status.detail.endswith(f'; did you mean base_url = "{server.url}"?')


@pytest.mark.parametrize("unknown", UNKNOWN_PATH)
async def test_a_server_that_is_not_ollama_is_told_from_one_without_the_model(
    server: LLMServer, unknown: str
) -> None:
    for path in ("/api/version", "/api/tags"):
        server.routes[path] = UNKNOWN_PATH[unknown]
    status = await ollama(server.url)
    assert status.misconfigured
    assert status.detail.startswith(f"Ollama has no version at {server.url}/api/version (")
    todo = f'it has OpenAI\'s protocol: set kind = "openai" and base_url = "{server.url}/v1"'
    assert status.detail.endswith(todo)


async def test_ollama_over_the_other_scheme_is_found(server: LLMServer) -> None:
    status = await ollama(server.url.replace("http:", "https:"))
    assert status.detail.endswith(f'; did you mean base_url = "{server.url}"?')


async def test_a_server_that_is_down_is_unavailable_and_not_misconfigured() -> None:
    async with LLMServer() as server:
        pass
    for status in (await openai(server), await ollama(server.url)):
        assert (status.available, status.misconfigured) == (False, False)
        assert "cannot be reached" in status.detail


def test_the_addresses_tried_are_other_ones_and_each_is_tried_once() -> None:
    for base_url in ("http://h", "http://h/v1", "https://h:8/api/v1/chat/completions"):
        for addresses in (list(chat_addresses(base_url)), list(ollama_addresses(base_url))):
            assert base_url not in addresses
            assert len(addresses) == len(set(addresses)) <= 20
    assert "http://localhost:11434" in ollama_addresses("http://localhost")


# --- The key


async def test_a_list_that_needs_no_key_does_not_prove_the_key(server: LLMServer) -> None:
    server.api_key = "another"
    server.routes["/v1/models"] = Behaviour(body={"data": [{"id": "gpt-4"}]})
    status = await openai(server)
    assert (status.available, status.misconfigured) == (False, True)
    assert status.detail.endswith("Incorrect API key; check providers.vllm.api_key")


async def test_a_wrong_key_is_misconfigured_and_no_other_address_is_tried(
    server: LLMServer,
) -> None:
    server.api_key = "another"
    status = await openai(server)
    assert (status.available, status.misconfigured) == (False, True)
    assert server.calls("/v1/models") == len(server.requests)


# --- The model


async def test_a_model_that_is_not_in_the_servers_list_fails_with_the_nearest(
    server: LLMServer,
) -> None:
    server.models = ["llama-3.1-8b-instruct", "qwen3-14b"]
    status = await openai(server, default_model="lama-3.1-8b-instruct")
    assert (status.available, status.misconfigured) == (False, True)
    assert status.detail == (
        'providers.vllm.default_model: vllm has no model "lama-3.1-8b-instruct"; '
        'did you mean "llama-3.1-8b-instruct"?'
    )
    assert not [each for each in server.requests if each.body.get("messages")]
    status = await openai(server, default_model="gpt-4")
    assert status.detail.endswith("; it has llama-3.1-8b-instruct, qwen3-14b")


async def test_openrouters_list_tells_about_the_model_too(server: LLMServer) -> None:
    config = {"base_url": f"{server.url}/api/v1", "api_key": "sk-or-key"}
    async with OpenRouterProvider({**config, "default_model": "claude-3-sonet"}) as provider:
        status = await provider.diagnose()
    assert status.detail.endswith('did you mean "anthropic/claude-3-sonnet"?')
    async with OpenRouterProvider(config) as provider:
        assert await provider.diagnose() == Status(True)


@pytest.mark.parametrize("model", ["", "  "])
async def test_an_empty_model_fails_and_names_the_setting(server: LLMServer, model: str) -> None:
    status = await openai(server, default_model=model)
    assert (status.available, status.misconfigured) == (False, True)
    assert status.detail.startswith("providers.vllm.default_model is empty; the server has llama3")
    status = await ollama(server.url, default_model=model)
    assert status.misconfigured
    assert status.detail.startswith("providers.ollama.default_model is empty; the server has llama")


@pytest.mark.parametrize(
    ("model", "names", "listed"),
    [
        ("llama3.2", ["llama3.2:latest"], True),
        ("gemini-2.5-flash", ["models/gemini-2.5-flash"], True),
        ("anthropic/claude-3-sonnet:free", ["anthropic/claude-3-sonnet"], True),
        ("claude-3-5-sonnet-latest", ["claude-3-5-sonnet-20241022"], True),
        ("GPT-4", ["gpt-4"], True),
        ("claude-3-5-latest", ["claude-3-5-sonnet-20241022"], False),
        ("llama3.2:1b", ["llama3.2:3b"], False),
        ("gpt-4", ["gpt-4o"], False),
    ],
)
def test_a_model_is_listed_by_each_name_that_servers_take(
    model: str, names: list[str], listed: bool
) -> None:
    assert model_names.is_listed(model, names) is listed


def test_a_long_list_is_cut() -> None:
    assert model_names.few(["a", "b"]) == "a, b"
    assert model_names.few(list("abcdefg")) == "a, b, c, d, e and 2 more"


# --- Servers without a list of models


@pytest.mark.parametrize("missing", ["404 text", "404 JSON", "405", "200 page", "200 JSON"])
async def test_a_server_without_a_list_is_asked_with_one_tiny_call(
    server: LLMServer, missing: str
) -> None:
    server.routes["/v1/models"] = UNKNOWN_PATH[missing]
    assert await openai(server, default_model="anything") == Status(True)
    (call,) = [each.body for each in server.requests if each.body.get("messages")]
    assert 1 in (call.get("max_tokens"), call.get("max_completion_tokens"))


async def test_the_status_makes_no_call_that_costs_money(server: LLMServer) -> None:
    server.routes["/v1/models"] = UNKNOWN_PATH["404 text"]
    async with OpenAIProvider({"base_url": f"{server.url}/v1"}, name="vllm") as provider:
        assert await provider.is_available()
    assert not [each for each in server.requests if each.body.get("messages")]


async def test_a_server_with_a_list_is_sent_no_messages(server: LLMServer) -> None:
    assert await openai(server) == Status(True)
    assert not [each for each in server.requests if each.body.get("messages")]


@pytest.mark.parametrize(
    "complaint",
    [
        Behaviour(status=400, body={"error": {"message": "Missing parameter: 'messages'"}}),
        Behaviour(status=422, body={"detail": [{"loc": ["body", "messages"], "msg": "missing"}]}),
        Behaviour(status=500, body={"error": {"message": "'messages'"}}),
        Behaviour(status=429, body={"error": {"message": "slow down"}}),
        Behaviour(status=400, body=""),
    ],
)
async def test_a_complaint_about_the_messages_shows_that_the_chat_is_there(
    server: LLMServer, complaint: Behaviour
) -> None:
    server.routes["/v1/models"] = UNKNOWN_PATH["404 text"]
    server.plan(complaint)
    async with OpenAIProvider({"base_url": f"{server.url}/v1"}, name="vllm") as provider:
        assert await provider.status() == Status(True)
    server.plan(complaint)
    assert await openai(server) == Status(True)


async def test_a_model_that_the_chat_refuses_is_unknown_and_the_address_is_right(
    server: LLMServer,
) -> None:
    server.routes["/v1/models"] = UNKNOWN_PATH["404 text"]
    refused = {"error": {"message": "The model `gpt-9` does not exist", "code": 404}}
    refusal = Behaviour(status=404, body=refused)
    # Known by its name, without messages; or only by a call.
    for plan in ([refusal, refusal], [Behaviour(), Behaviour(), refusal]):
        server.plan(*plan)
        status = await openai(server, default_model="gpt-9")
        assert (status.available, status.misconfigured) == (False, True)
        assert "gpt-9" in status.detail
        assert "did you mean" not in status.detail


async def test_a_server_that_fails_each_call_is_not_available(server: LLMServer) -> None:
    server.routes["/v1/models"] = UNKNOWN_PATH["404 text"]
    server.plan(*[Behaviour(status=500)] * 3)
    status = await openai(server)
    assert (status.available, status.misconfigured) == (False, False)
