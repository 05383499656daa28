"""Names in a room of several, through the service over NATS: streamed and whole, both protocols."""

from __future__ import annotations

from typing import Any

import pytest

from engine.answering.token_rates import USUAL_ASCII
from tests.fakes.llm_server import Behaviour, LLMServer
from tests.support.service_harness import House

WAYS = [(kind, stream) for kind in ("openai", "ollama") for stream in (True, False)]
IN_ALL_WAYS = pytest.mark.parametrize(("kind", "stream"), WAYS)


async def opened(house: House, llm: LLMServer, kind: str) -> House:
    if kind == "ollama":
        house.config["default_provider"] = "ollama"
        settings = {"base_url": llm.url, "default_model": "test-model", "max_retries": 0}
        house.config["providers"]["ollama"] = settings
    return await house.open()


async def ask(house: House, message: str, *, stream: bool, user: str = "bob") -> dict[str, Any]:
    body = {"action": "chat", "channel_id": "#lobby", "message": message, "username": user}
    return await house.bot.call("llm.request", body | {"stream": stream})


async def shown(house: House, answer: dict[str, Any]) -> str:
    """Return the joined deltas of an answer, once they are its content."""

    def joined() -> str:
        deltas = house.bot.received_deltas()
        return "".join(e["delta"] for e in deltas if e["request_id"] == answer["request_id"])

    await house.bot.until(lambda: joined() == answer["content"])
    return joined()


@IN_ALL_WAYS
async def test_the_bots_name_is_removed_in_any_dress(
    house: House, llm: LLMServer, kind: str, stream: bool
) -> None:
    await opened(house, llm, kind)
    await ask(house, "Hello", stream=stream, user="alice")
    for pieces in (
        ["Rosey", ": Ro", "sey: ", "hi"],
        ["**", "Rosey:", "** ", "hi"],
        ["[Rosey]", ":", " hi"],
        ["**Rosey: hi**"],
    ):
        llm.plan(Behaviour(pieces=pieces))
        answer = await ask(house, "Hi", stream=stream)
        assert answer["content"] in ("hi", "**hi**")
        assert answer["finish_reason"] == "stop"
        assert answer["usage"]["prompt_tokens"] > 0
        if stream:
            assert await shown(house, answer) == answer["content"]
    llm.plan(Behaviour(text="Rosey: hi"))
    alone = {"action": "chat", "channel_id": "#alone", "message": "Hi", "stream": stream}
    assert (await house.bot.call("llm.request", alone))["content"] == "Rosey: hi"


@IN_ALL_WAYS
async def test_an_answer_ends_before_the_line_of_another_speaker(
    house: House, llm: LLMServer, kind: str, stream: bool
) -> None:
    await opened(house, llm, kind)
    await ask(house, "Hello", stream=stream, user="alice")
    pieces = ["Rosey: ", "Sure.", "\n", "ali", "ce: thanks", "\nRosey: you're ", "welcome"]
    # The rest of a streamed answer is not waited for: the call is closed.
    llm.plan(Behaviour(pieces=pieces, hang_after=5 if stream else None, finish_reason="length"))
    answer = await ask(house, "Help alice", stream=stream)
    assert (answer["content"], answer["finish_reason"]) == ("Sure.", "stop")
    assert ("usage" in answer) is not stream
    assert house.history()[-1] == ("answer", "Sure.")
    if stream:
        assert await shown(house, answer) == "Sure."
        await llm.wait_for_disconnects(1)
    # Carol does not speak here; a list of those who do is introduced.
    text = "Sure.\ncarol: a name\nThe scores:\nalice: 3\nbob: 5"
    llm.plan(Behaviour(text=text))
    assert (await ask(house, "And now?", stream=stream))["content"] == text


@IN_ALL_WAYS
async def test_an_invisible_answer_is_empty_and_an_invisible_message_too(
    house: House, llm: LLMServer, kind: str, stream: bool
) -> None:
    await opened(house, llm, kind)
    llm.plan(*[Behaviour(pieces=["\u200b", "\u2800\ufe0f", " \u3164"])] * 2)
    answer = await ask(house, "Hello", stream=stream)
    assert (answer["code"], "empty answer" in answer["error"]) == ("provider_error", True)
    refused = await ask(house, "\u200b\u202e \u2060", stream=stream)
    assert (refused["code"], refused["error"][:21]) == ("invalid_request", "The message is empty.")
    for line in ("\u200b", " \ufeff \U000e0000"):
        assert (await house.bot.ask(line))["action"] == "help"
    assert (await house.bot.ask("reset \U000e0000"))["action"] == "reset"


def counted(kind: str, text: str, tokens: int) -> Behaviour:
    """Return an answer of a server that counts so many tokens in the prompt."""
    if kind == "ollama":
        message = {"role": "assistant", "content": text}
        end = {"done": True, "done_reason": "stop", "prompt_eval_count": tokens, "eval_count": 9}
        return Behaviour(body={"model": "test-model", "message": message, **end})
    choice = {"index": 0, "message": {"content": text}, "finish_reason": "stop"}
    usage = {"prompt_tokens": tokens, "completion_tokens": 9, "total_tokens": tokens + 9}
    return Behaviour(body={"model": "test-model", "choices": [choice], "usage": usage})


@pytest.mark.parametrize("kind", ["openai", "ollama"])
async def test_the_window_follows_what_the_server_counts(
    house: House, llm: LLMServer, kind: str
) -> None:
    """A window of 4096 tokens holds four or five pairs of 2800 bytes, at 3.5 bytes a token."""
    await opened(house, llm, kind)
    house.config["providers"][kind]["context_tokens"] = 4096 + 1024
    house.config["service"] = {"max_context_messages": 40}
    await house.restart()

    async def exchanges(tokens_a_byte: float) -> int:
        last = sum(len(each["content"]) for each in llm.prompts[-1]) if llm.prompts else 1400
        llm.plan(counted(kind, "b" * 1400, round(last * tokens_a_byte)))
        answer = await ask(house, "a" * 1400, stream=False)
        assert len(answer["content"]) == 1400
        return len(llm.prompts[-1]) // 2 - 1

    for _ in range(6):
        usual = await exchanges(USUAL_ASCII)
    for _ in range(4):
        smaller = await exchanges(3 * USUAL_ASCII)
    assert usual in (4, 5)
    assert smaller == 0
    for _ in range(30):
        larger = await exchanges(USUAL_ASCII / 2)
    assert larger > usual
    # A reload keeps what was learned; the proof of a prompt does not need it.
    await house.reload()
    assert await exchanges(USUAL_ASCII / 2) == larger
