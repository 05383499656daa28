"""`[nats] url` may name several servers; the engine uses any that is there."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from engine.client.address import addresses, without_login
from engine.config.loading import parse
from engine.config.settings import NatsSettings
from engine.traffic.connection import NatsConnection
from engine.traffic.embedded.server import BotRights, EmbeddedNats
from providers.validation import ValidationError
from tests.support.nats_servers import lasting_port
from tests.support.patience import until


def url_of(value: object) -> str:
    settings = parse({"nats": {"url": value}, "default_provider": "scripted"}, Path("/nowhere"))
    return settings.nats.url


def test_a_list_and_commas_mean_the_same() -> None:
    both = url_of(["nats://a:4222", "tls://b"])
    assert addresses(both) == addresses(url_of("nats://a:4222, tls://b"))
    assert addresses(both) == ["nats://a:4222", "tls://b"]
    assert url_of(["nats://a"]) == "nats://a"


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("nats://a:4222,b:4222", "nats.url[1]"),
        ("nats://a:4222,", "nats.url[1]"),
        (["nats://a:4222", ""], "nats.url[1]"),
        (["nats://a", 3], "nats.url[1]"),
        (["nats://a", "nats://b,nats://c"], "nats.url[1]"),
        (["embedded", "nats://a"], "nats.url[0]"),
        ([], "nats.url"),
        ("nats://a:0", "nats.url"),
        ("nats://a:70000", "nats.url"),
        ("nats://a:port", "nats.url"),
        ("nats://a b", "nats.url"),
        ("nats://[::1", "nats.url"),
        ("nats://a/path", "nats.url"),
        ("nats://a?x=1", "nats.url"),
        ("nats://", "nats.url"),
        ("http://a", "nats.url"),
        (["ws://a", "nats://b"], "nats.url"),
    ],
)
def test_what_cannot_be_an_address_is_refused_with_its_place(url: object, place: str) -> None:
    with pytest.raises(ValidationError) as caught:
        url_of(url)
    assert caught.value.path == place


def test_no_login_of_any_server_is_shown() -> None:
    shown = without_login("nats://jo:sesame@a:4222,nats://token@b")
    assert shown == "nats://a:4222, nats://b"
    with pytest.raises(ValidationError) as caught:
        url_of("nats://jo:sesame@a:4222,nats://jo:sesame@b:x")
    assert "sesame" not in str(caught.value)


@asynccontextmanager
async def server(folder: Path) -> AsyncIterator[EmbeddedNats]:
    nats = EmbeddedNats(folder, lasting_port(), rights=BotRights(publish=[">"], subscribe=[">"]))
    async with nats:
        yield nats


@pytest.mark.process
async def test_the_next_server_is_used_if_one_goes_away(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with server(tmp_path / "a") as one, server(tmp_path / "b") as other:
        url = f"{one.bot_url},{other.bot_url}"
        connection = NatsConnection(NatsSettings(url=url), url)
        connection.start()
        await connection.connected.wait()
        await connection.flush()
        port = connection.port
        (gone,) = [each for each in (one, other) if each.port == port]
        assert gone.pid is not None
        os.kill(gone.pid, signal.SIGKILL)
        await until(lambda: connection.statistics().reconnects == 1)
        await connection.flush()
        assert connection.port != port
        await connection.close()
    assert "may be lost" in caplog.text
    assert f"{one.url}, {other.url}" in caplog.text
