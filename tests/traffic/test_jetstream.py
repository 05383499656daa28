"""JetStream on the embedded server: bounded, in its folder, and for the logins that may use it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import nats
import nats.errors
import nats.js.errors
import pytest
from nats.aio.client import Client

from engine.traffic.embedded import refusal_reports
from tests.support.bot_urls import port_of
from tests.support.patience import WAIT_S, until
from tests.support.service_harness import House

MOST = 1024 * 1024


@pytest.fixture(autouse=True)
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refusal_reports, "POLL_S", 0.01)


async def ignore(_: Exception) -> None: ...


async def client(house: House, user: str) -> Client:
    url = f"nats://{user}:{user}-secret@127.0.0.1:{port_of(house.url)}"
    return await nats.connect(url, error_cb=ignore)


def with_users(house: House, **more: object) -> None:
    users = [
        {"name": "keeper", "password": "keeper-secret", "jetstream": True},
        {"name": "other", "password": "other-secret"},
    ]
    house.config["nats"] |= {"users": users} | more


async def test_it_keeps_what_bots_store_over_a_restart_up_to_its_size(house: House) -> None:
    with_users(house, jetstream=True, jetstream_max_bytes=MOST)
    await house.open()
    keeper = await client(house, "keeper")
    js = keeper.jetstream()
    with pytest.raises(nats.js.errors.ServerError, match="insufficient storage"):
        await js.add_stream(name="large", subjects=["large.>"], max_bytes=2 * MOST)
    store = await js.create_key_value(bucket="rooms", max_bytes=MOST // 2)
    await store.put("lobby", b"open")
    await keeper.close()
    await house.restart()
    keeper = await client(house, "keeper")
    kept = await (await keeper.jetstream().key_value("rooms")).get("lobby")
    assert kept.value == b"open"
    assert (await house.bot.ask("Hi"))["content"] == "You said: Hi"
    await keeper.close()
    folder = house.folder / "data" / "nats" / "jetstream"
    assert [each for each in folder.rglob("*") if each.stat().st_mode & 0o077] == []


async def test_a_login_without_the_right_is_refused_and_the_log_says_what_to_do(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    with_users(house, jetstream=True)
    await house.open()
    other = await client(house, "other")
    await asked(other)
    says = 'publish on "$JS.API.INFO". JetStream is for logins of [[nats.users]] that have jetst'
    await until(lambda: says in caplog.text)
    assert "Set [nats] jetstream = true" not in caplog.text
    await other.close()


async def test_without_it_the_log_says_how_to_turn_it_on(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    with_users(house)
    await house.open()
    other = await client(house, "other")
    await asked(other)
    await until(lambda: "Set [nats] jetstream = true, and restart." in caplog.text)
    await other.close()
    assert not Path(house.folder / "data" / "nats" / "jetstream").exists()


async def asked(bot: Client) -> None:
    """Ask JetStream without waiting for the answer, which never comes."""
    await bot.publish("$JS.API.INFO", b"", reply=bot.new_inbox())
    await asyncio.sleep(0)
    await bot.flush(timeout=int(WAIT_S))
