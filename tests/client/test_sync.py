"""The client library for bots that use threads, against a real engine."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from rosey_llm.sync import Client

from engine.client.address import CannotConnect
from engine.commands.sender import Sender
from engine.errors import LLMError
from tests.fakes.llm_server import LLMServer
from tests.support.service_harness import House

pytestmark = pytest.mark.process


def converse(url: str) -> list[str]:
    """What a bot with threads does, in a thread of its own."""
    found = []
    with Client(url) as rosey:
        assert rosey.is_connected
        assert rosey.is_served()
        outcomes = rosey.outcomes()
        with ThreadPoolExecutor(4) as threads:
            answers = threads.map(lambda at: rosey.chat(f"Hi {at}", f"#{at}"), range(8))
            found += sorted(answer.channel_id for answer in answers)
        assert {next(outcomes).channel_id for _ in range(8)} == set(found)
        with rosey.stream("Tell me", "#0") as pieces:
            assert "".join(pieces) == pieces.text == pieces.answer.content
        with rosey.stream_command("And more", "#0") as pieces:
            assert "".join(pieces) == pieces.answer.content
        assert pieces.restarts == 0
        found.append(rosey.complete("It").action)
        found.append(rosey.reset("#0").content)
        found.append(rosey.set_persona("default", "#0").action)
        found.append(rosey.set_model("default", "#0").action)
        found.append(rosey.stop("#0").action)
        found.append(rosey.command("help", "#0").action)
        with pytest.raises(LLMError) as caught:
            rosey.chat("Hi", "#0", sender=Sender("robot", is_bot=True))
        assert caught.value.code == "not_allowed"
        with pytest.raises(LLMError, match="nobody"):
            rosey.set_persona("nobody", "#0")
    assert list(outcomes) == []
    with pytest.raises(RuntimeError, match="within `with Client"):
        rosey.chat("Hi", "#0")
    return found


async def test_a_bot_with_threads_has_all_that_others_have(house: House, llm: LLMServer) -> None:
    house.config["conversation"] = {"stream": True}
    house.config["permissions"] = {"model": "*"}
    await house.open()
    assert await asyncio.to_thread(converse, house.url) == [
        *(f"#{at}" for at in range(8)),
        "complete",
        "Conversation reset: 6 messages cleared.",
        "persona",
        "model",
        "stop",
        "help",
    ]


def test_a_client_that_cannot_connect_leaves_no_thread_behind() -> None:
    before = set(threading.enumerate())
    with pytest.raises(CannotConnect), Client("nats://127.0.0.1:1"):
        pass
    assert set(threading.enumerate()) <= before
