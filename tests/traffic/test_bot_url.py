"""The file `url` of the embedded server: who can read it, what is in it, when its login changes."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from engine.traffic.embedded.server import BotRights, EmbeddedNats, NatsServerFailed
from tests.support.bot_urls import login_of, port_of
from tests.support.nats_servers import REFUSED, RawClient, lasting_port

pytestmark = pytest.mark.process


async def started(folder: Path, port: int) -> str:
    """Start a server and stop it; return what its file says meanwhile."""
    async with EmbeddedNats(folder, port, rights=BotRights()) as server:
        url = (folder / "url").read_text()
        assert url == f"{server.bot_url}\n"
        async with RawClient.connected(port_of(url.strip()), **login_of(url)):
            return url


async def test_only_its_owner_can_read_it_and_it_is_left_at_the_end(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        url = await started(tmp_path, 0)
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "url").stat().st_mode) == 0o600
    assert (tmp_path / "url").read_text() == url
    assert not (tmp_path / "url.new").exists()


async def test_the_login_is_the_same_after_a_restart_on_the_same_port(tmp_path: Path) -> None:
    port = lasting_port()
    assert await started(tmp_path, port) == await started(tmp_path, port)


async def test_a_file_that_a_killed_service_had_not_finished_changes_nothing(
    tmp_path: Path,
) -> None:
    port = lasting_port()
    url = await started(tmp_path, port)
    (tmp_path / "url.new").write_text("nats://bot:half")
    (tmp_path / "url.new").chmod(0o644)
    assert await started(tmp_path, port) == url
    assert stat.S_IMODE((tmp_path / "url").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "damage", ["deleted", "readable", "cut", "other", "linked", "another port"]
)
async def test_a_login_that_others_may_know_is_not_used_again(tmp_path: Path, damage: str) -> None:
    port = lasting_port()
    file = tmp_path / "nats" / "url"
    old = await started(file.parent, port)
    match damage:
        case "deleted":
            file.unlink()
        case "readable":
            file.chmod(0o640)
        case "cut":
            file.write_text("nats://bot:")
        case "other":
            file.write_text(f"nats://alice:secret@127.0.0.1:{port}")
        case "linked":
            file.rename(tmp_path / "elsewhere")
            file.symlink_to(tmp_path / "elsewhere")
        case _:
            port = lasting_port()
    new = await started(file.parent, port)
    assert login_of(new)["user"] == "bot"
    assert login_of(new)["pass"] not in ("", login_of(old)["pass"])
    assert not file.is_symlink()
    if damage != "another port":
        async with EmbeddedNats(file.parent, port, rights=BotRights()):
            with pytest.raises(ConnectionError, match=REFUSED):
                async with RawClient.connected(port, **login_of(old)):
                    pass


async def test_if_it_cannot_be_written_the_server_does_not_stay(tmp_path: Path) -> None:
    (tmp_path / "url").mkdir()
    server = EmbeddedNats(tmp_path, 0, rights=BotRights())
    with pytest.raises(NatsServerFailed, match="Cannot write the files of the embedded NATS"):
        await server.start()
    assert server.pid is None
    (tmp_path / "url").rmdir()
    await started(tmp_path, 0)
