"""The client library and a service that is killed, as processes; and how a client finds it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from engine.client.address import CannotConnect, read_address
from engine.client.client import Client
from tests.fakes.llm_server import Behaviour, LLMServer
from tests.support.service_process import configuration, running


@pytest.mark.process
async def test_an_answer_begins_again_after_a_kill_and_is_then_complete(
    tmp_path: Path, llm: LLMServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    never = asyncio.Event()
    llm.plan(
        Behaviour(pieces=["First ", "try"], hold=never, hold_after=1), Behaviour(text="Second try.")
    )
    config = configuration(llm)
    async with (
        running(tmp_path, config) as service,
        Client() as rosey,  # it finds the address that the service wrote, also the new one
        rosey.stream("Hi", "#lobby", username="alice") as pieces,
    ):
        assert await anext(pieces) == "First "
        waits = asyncio.create_task(rosey.chat("And?", "#lobby"))
        await service.kill()
        async with running(tmp_path, config):
            rest = [piece async for piece in pieces]
            assert "".join(rest) == pieces.text == pieces.answer.content == "Second try."
            assert pieces.restarts == 1
            assert (await waits).content
        never.set()


def test_the_address_is_that_of_the_service_in_this_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        CannotConnect, match=r"from data/nats/url: No such file.* Start the service"
    ):
        read_address(None)
    (tmp_path / "rosey-llm.toml").write_text('[nats]\nstore_dir = "elsewhere"\n')
    (tmp_path / "elsewhere").mkdir()
    url = tmp_path / "elsewhere" / "url"
    url.write_text("nats://127.0.0.1:4229\n")
    assert read_address(None) == read_address(url) == "nats://127.0.0.1:4229"
    url.write_text("")
    with pytest.raises(CannotConnect, match="no address of NATS in elsewhere/url"):
        read_address(None)
    (tmp_path / "rosey-llm.toml").write_text('[nats]\nurl = "nats://example"\n')
    with pytest.raises(CannotConnect, match="the login of this bot"):
        read_address(None)
    (tmp_path / "rosey-llm.toml").write_text("nats = 3 3")
    with pytest.raises(CannotConnect, match=r"Cannot read rosey-llm\.toml"):
        read_address(None)
