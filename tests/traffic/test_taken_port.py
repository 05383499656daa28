"""The port of the embedded server is taken: by another NATS server, or by something else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from engine.app import build_app
from engine.errors import CannotStart
from engine.operations import check
from engine.traffic.embedded.port import Occupant, occupant_of
from engine.traffic.embedded.server import BotRights, EmbeddedNats
from tests.fakes.llm_server import LLMServer
from tests.support.bot_urls import port_of
from tests.support.nats_logins import logins
from tests.support.nats_servers import Server
from tests.support.patience import WAIT_S
from tests.support.service_harness import House

pytestmark = pytest.mark.process

LINES = '\n\n[nats]\nurl = "nats://127.0.0.1:{port}"\n\n'


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look for long at a server that gets no processor for a while."""
    monkeypatch.setattr("engine.traffic.embedded.port._LOOK_S", WAIT_S)


@asynccontextmanager
async def program(greeting: bytes) -> AsyncIterator[int]:
    """A program that listens, and says this to each that connects; yield its port."""

    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(greeting)
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def finding(house: House) -> tuple[check.Finding, list[str]]:
    found = await check.report(house.settings)
    return next(each for each in found.findings if each.part == "NATS"), list(found.notes)


async def test_if_a_nats_server_has_it_the_start_ends_with_what_to_write(
    house: House, tmp_path: Path
) -> None:
    async with Server(tmp_path, "") as server:
        house.config["nats"]["port"] = server.port
        app = build_app(house.settings)
        with pytest.raises(CannotStart) as refused:
            await app.start()
        found, _ = await finding(house)
    assert f"A NATS server answers on port {server.port}" in str(refused.value)
    assert LINES.format(port=server.port) in str(refused.value)
    assert "user and password" not in str(refused.value)
    assert (found.works, found.detail) == (False, str(refused.value))
    assert not (house.folder / "data" / "nats" / "url").exists()


async def test_what_it_says_to_write_is_what_works(
    house: House, tmp_path: Path, llm: LLMServer
) -> None:
    async with Server(tmp_path, "") as server:
        house.config["nats"] = {"url": f"nats://127.0.0.1:{server.port}"}
        await house.open()
        assert (await house.bot.ask("Hi"))["content"] == "You said: Hi"
        await house.close()


async def test_a_server_that_asks_for_a_login_is_said_to(house: House, tmp_path: Path) -> None:
    async with Server(tmp_path, logins()) as server:
        house.config["nats"]["port"] = server.port
        assert await occupant_of(server.port) == Occupant("nats", needs_login=True)
        with pytest.raises(CannotStart, match="with its user and password:"):
            await build_app(house.settings).start()


@pytest.mark.parametrize(
    "greeting",
    [b"", b"220 mail.example ESMTP\r\n", b"INFO {}\r\n", b"INFO [1\r\n", b"INFO " + b"x" * 200_000],
    ids=["nothing", "mail", "empty", "broken", "endless"],
)
async def test_if_something_else_has_it_the_next_one_is_used_and_said_once(
    house: House, greeting: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "rosey_llm.nats")
    async with program(greeting) as taken:
        house.config["nats"]["port"] = taken
        found, notes = await finding(house)
        assert found.works
        assert f"Port {taken} is taken by another program; NATS would take the next one." in notes
        await house.open()
        assert port_of(house.url) > taken
        assert (await house.bot.ask("Hi"))["content"] == "You said: Hi"
        await house.close()
    said = [text for text in caplog.messages if f"Port {taken} is taken; NATS listens on" in text]
    assert len(said) == 1


async def test_beside_the_server_of_another_engine_the_next_one_is_used(
    house: House, tmp_path: Path
) -> None:
    async with EmbeddedNats(tmp_path / "other", 0, rights=BotRights()) as other:
        house.config["nats"]["port"] = other.port
        _, notes = await finding(house)
        await house.open()
        assert (await house.bot.ask("Hi"))["content"] == "You said: Hi"
        assert port_of(house.url) > other.port
    assert notes == [
        f"Port {other.port} is taken by another rosey-llm; NATS would take the next one."
    ]


async def test_check_tells_whether_the_login_for_bots_works(house: House) -> None:
    await house.open()
    file = house.folder / "data" / "nats" / "url"
    found, _ = await finding(house)
    assert (found.works, found.detail.endswith(f"its login for bots is in {file}")) == (True, True)
    url = file.read_text()
    file.write_text(f"nats://bot:guessed@127.0.0.1:{port_of(url)}")
    found, _ = await finding(house)
    assert not found.works
    assert "Authorization Violation" in found.detail or "login" in found.detail
    assert "guessed" not in found.detail
    file.unlink()
    assert "Cannot read the address of NATS" in (await finding(house))[0].detail
