"""Tests of the HTTP pages: they start early, stop late, and do not disturb the engine."""

from __future__ import annotations

import asyncio
import logging
import re
import socket
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest

from engine.monitoring import http
from engine.monitoring.http import CONNECTIONS_LIMIT
from tests.fakes.llm_server import Behaviour
from tests.support.command_line import COMMAND
from tests.support.patience import WAIT_S
from tests.support.scraper import get
from tests.support.service_harness import House, rests_for_long

PAGES = ("/healthz", "/readyz", "/metrics", "/top")
# An address that no machine has: it is reserved for documentation.
UNUSED_IP = "203.0.113.1"


def url_of(house: House) -> str:
    assert house.app is not None
    assert house.app.http_url is not None
    return house.app.http_url


def address_file(folder: Path) -> Path:
    return folder / "data" / "rosey-llm.db.http"


async def ready(url: str) -> tuple[int, dict[str, Any]]:
    status, found, _ = await get(f"{url}/readyz")
    assert found["ready"] == (status == 200)
    return status, found["parts"]


async def until_ready(url: str) -> None:
    async with asyncio.timeout(WAIT_S):
        while (await ready(url))[0] != 200:  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0.05)


async def test_a_service_that_answers_is_alive_and_ready(house: House) -> None:
    await house.open()
    url = url_of(house)
    status, alive, _ = await get(f"{url}/healthz")
    assert (status, alive) == (200, {"alive": True, "stage": "running"})
    status, parts = await ready(url)
    assert status == 200
    assert {name: part["ok"] for name, part in parts.items()} == dict.fromkeys(
        ("nats", "database", "providers", "service"), True
    )


@pytest.mark.process
async def test_before_nats_is_connected_it_is_alive_but_not_ready(tmp_path: Path) -> None:
    (tmp_path / "rosey-llm.toml").write_text(
        'default_provider = "scripted"\nfallback_providers = []\n[http]\nport = 0\n'
        '[nats]\nurl = "nats://user:secret@127.0.0.1:9"\n'
    )
    process = await asyncio.create_subprocess_exec(
        *(COMMAND, "run"), cwd=tmp_path, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        async with asyncio.timeout(WAIT_S):
            while not address_file(tmp_path).exists():  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        url = address_file(tmp_path).read_text().strip()
        assert (await get(f"{url}/healthz"))[:2] == (200, {"alive": True, "stage": "starting"})
        status, parts = await ready(url)
        assert (status, parts["nats"]["ok"], parts["service"]["ok"]) == (503, False, False)
        assert "nats://127.0.0.1:9 is not there" in parts["nats"]["detail"]
        assert (await get(f"{url}/metrics"))[0] == 200
        assert (await get(f"{url}/top"))[1]["stage"] == "starting"
        process.terminate()
        async with asyncio.timeout(WAIT_S):
            assert await process.wait() == 0
        assert not address_file(tmp_path).exists()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_it_is_not_ready_while_every_circuit_is_open(house: House) -> None:
    await house.open()
    rests_for_long(house)
    await house.llm.stop()
    for _ in range(5):
        assert (await house.bot.ask("Hello"))["code"] == "provider_unavailable"
    status, parts = await ready(url_of(house))
    assert (status, parts["providers"]["ok"]) == (503, False)
    assert re.search(r"openai .* no calls for \d+ s more", parts["providers"]["detail"])
    assert (await get(f"{url_of(house)}/healthz"))[0] == 200


async def test_it_is_not_ready_while_another_process_locks_the_database(house: House) -> None:
    await house.open()
    database = house.folder / "data" / "rosey-llm.db"
    with closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        status, parts = await ready(url_of(house))
        assert (status, parts["database"]["ok"]) == (503, False)
        assert "locked" in parts["database"]["detail"]
        assert str(database) in parts["database"]["detail"]
        # The metrics page still answers, with the numbers that are available.
        _, text, _ = await get(f"{url_of(house)}/metrics")
        assert "rosey_llm_database_answers 0.0" in text
        assert "rosey_llm_commands_waiting 0.0" in text
        other.execute("ROLLBACK")
    assert (await house.bot.ask("Hello"))["content"]
    await until_ready(url_of(house))


async def test_a_drained_service_is_not_ready(house: House) -> None:
    hold = asyncio.Event()
    house.llm.plan(Behaviour(hold=hold))
    await house.open()
    url = url_of(house)
    await house.bot.chat("Hello")
    await house.llm.wait_for_requests(1)
    assert house.app is not None
    draining = asyncio.create_task(house.app.drain())
    async with asyncio.timeout(WAIT_S):
        while (await ready(url))[1]["service"]["ok"]:  # noqa: ASYNC110 - there is no event
            await asyncio.sleep(0.01)
    hold.set()
    await draining
    with pytest.raises(OSError, match=r"refused|Connect"):
        await get(f"{url}/healthz")
    assert not address_file(house.folder).exists()


@pytest.mark.parametrize("page", PAGES)
async def test_pages_are_read_only(house: House, page: str) -> None:
    await house.open()
    url = url_of(house) + page
    status, _, headers = await get(url)
    assert status == 200
    assert headers["Cache-Control"] == "no-store"
    assert "Access-Control-Allow-Origin" not in headers
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH"):
        assert (await get(url, method))[0] == 405, method
    assert (await get(url, data=b"x" * 100_000))[0] == 413
    assert (await get(url, headers={"Host": "evil.example"}))[0] == 421
    assert (await get(url, headers={"Host": "localhost:1"}))[0] == 200


async def test_metrics_are_prometheus_text_and_compressed_if_asked(house: House) -> None:
    await house.open()
    _, text, headers = await get(f"{url_of(house)}/metrics", headers={"Accept-Encoding": "gzip"})
    assert headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert headers["Content-Encoding"] == "gzip"
    assert text.startswith("# HELP rosey_llm_")
    identity = {"Accept-Encoding": "identity"}
    _, _, headers = await get(f"{url_of(house)}/metrics", headers=identity)
    assert "Content-Encoding" not in headers


async def test_no_message_content_is_shown(house: House) -> None:
    house.llm.reply = "a-secret-answer"
    await house.open()
    await house.bot.ask("a-secret-question", channel="#a-channel")
    for page in PAGES:
        body = str((await get(url_of(house) + page))[1])
        assert "a-secret" not in body
        assert "sk-house-key" not in body
        assert ("#a-channel" in body) == (page == "/top")


@contextmanager
def taken() -> Iterator[int]:
    """A port on which another socket listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


async def test_a_taken_port_gives_way_to_the_next_free_one(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "rosey_llm.http")
    with taken() as port:
        house.config["http"] = {"port": port}
        await house.open()
        url = url_of(house)
        assert int(url.rpartition(":")[2]) > port
        assert f"Port {port} is taken; health and metrics are on" in caplog.text
        assert (await get(f"{url}/healthz"))[0] == 200
    # At info level, as for NATS's port: `rosey-llm chat` shows warnings, and must stay quiet.
    assert {r.levelno for r in caplog.records if r.name == "rosey_llm.http"} == {logging.INFO}


@pytest.mark.process
async def test_a_chat_with_its_own_service_stays_quiet_if_the_port_is_taken(
    tmp_path: Path,
) -> None:
    with taken() as port:
        (tmp_path / "rosey-llm.toml").write_text(
            'default_provider = "scripted"\nfallback_providers = []\n'
            f"[http]\nport = {port}\n[nats]\nport = 0\n"
        )
        chat = await asyncio.create_subprocess_exec(
            *(COMMAND, "chat"),
            cwd=tmp_path,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        assert await chat.communicate(b"Hello\n") == (b"You said: Hello\n", b"")


@pytest.mark.parametrize("host", [UNUSED_IP, "a..b", "\0"])
async def test_if_no_port_can_be_used_the_engine_still_answers(
    house: House, caplog: pytest.LogCaptureFixture, host: str
) -> None:
    house.config["http"] = {"host": host, "port": 0}
    await house.open()
    assert house.app is not None
    assert house.app.http_url is None
    assert f"No health and metrics: cannot listen on {host}:0" in caplog.text
    assert "Set [http] host and port." in caplog.text
    assert (await house.bot.ask("Hello"))["content"] == "You said: Hello"
    assert not address_file(house.folder).exists()


async def test_it_can_be_disabled(house: House) -> None:
    house.config["http"] = {"enabled": False}
    await house.open()
    assert house.app is not None
    assert house.app.http_url is None
    assert not address_file(house.folder).exists()


async def test_the_address_file_is_readable_by_the_same_user_only(house: House) -> None:
    await house.open()
    file = address_file(house.folder)
    assert file.read_text() == f"{url_of(house)}\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


async def test_a_second_service_on_the_same_database_changes_nothing(house: House) -> None:
    await house.open()
    said = address_file(house.folder).read_text()
    (house.folder / "rosey-llm.toml").write_text(
        'default_provider = "scripted"\nfallback_providers = []\n[http]\nport = 0\n'
    )
    second = await asyncio.create_subprocess_exec(
        *(COMMAND, "run"), cwd=house.folder, stderr=asyncio.subprocess.PIPE
    )
    _, errors = await second.communicate()
    assert second.returncode == 3
    assert b"is in use by" in errors
    assert address_file(house.folder).read_text() == said
    assert (await get(f"{url_of(house)}/healthz"))[0] == 200


async def test_any_number_of_connections_does_not_hurt(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "HEAD_LIMIT_S", 600.0)
    await house.open()
    host, port = url_of(house).removeprefix("http://").split(":")
    held = [await asyncio.open_connection(host, int(port)) for _ in range(CONNECTIONS_LIMIT)]
    reader, writer = await asyncio.open_connection(host, int(port))
    assert await reader.read() == b""
    writer.close()
    assert (await house.bot.ask("Hello"))["content"] == "You said: Hello"
    first_reader, first = held[0]
    first.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    head, _, body = (await first_reader.read()).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    assert orjson.loads(body)["alive"] is True
    for _, each in held:
        each.close()


@pytest.mark.parametrize(
    "sent", [b"", b"GET /healthz HTTP/1.1\r\nHost: local"], ids=["nothing", "half a head"]
)
async def test_silent_connections_make_room(
    house: House, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr(http, "HEAD_LIMIT_S", 0.2)
    await house.open()
    host, port = url_of(house).removeprefix("http://").split(":")
    held = [await asyncio.open_connection(host, int(port)) for _ in range(CONNECTIONS_LIMIT)]
    for _, each in held:
        each.write(sent)
    for reader, _ in held:
        async with asyncio.timeout(WAIT_S):
            with suppress(ConnectionError):
                assert await reader.read() == b""  # closed by the server
    assert (await get(f"{url_of(house)}/healthz"))[0] == 200
    for _, each in held:
        each.close()


async def test_a_connection_is_kept_between_two_requests(house: House) -> None:
    await house.open()
    host, port = url_of(house).removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    for _ in range(2):
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200")
        length = re.search(rb"Content-Length: (\d+)", head)
        assert length is not None
        await reader.readexactly(int(length[1]))
    writer.close()


async def test_the_first_page_lists_the_others(house: House) -> None:
    await house.open()
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{url_of(house)}/", timeout=aiohttp.ClientTimeout(WAIT_S)) as response,
    ):
        assert response.content_type == "text/html"
        text = await response.text()
    assert re.findall('href="([^"]+)"', text) == list(PAGES)
