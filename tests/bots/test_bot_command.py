"""`rosey-llm bot irc` as its users run it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from engine.config.settings import NatsSettings
from engine.errors import CannotStart
from engine.interfaces.bots.service_client import service_client
from tests.support.command_line import COMMAND, rosey
from tests.support.irc_servers import IrcServer, Person
from tests.support.nats_servers import lasting_port
from tests.support.patience import WAIT_S
from tests.support.service_harness import House

pytestmark = pytest.mark.process


@asynccontextmanager
async def running(
    folder: Path, server: IrcServer, *more: str, environment: Mapping[str, str] | None = None
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run the command during the block; at its beginning the bot is in #lobby."""
    process = await asyncio.create_subprocess_exec(
        *(COMMAND, "bot", "irc", "--server", server.address, "--channel", "#lobby", *more),
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, **(environment or {})},
    )
    assert process.stdout is not None
    said = b""
    try:
        async with asyncio.timeout(WAIT_S):
            while b"is in #lobby" not in said:
                line = await process.stdout.readline()
                assert line, said
                said += line
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def test_it_finds_the_service_of_its_folder_and_leaves_with_quit(
    house: House, tmp_path: Path
) -> None:
    await house.open()
    (tmp_path / "irc").mkdir()
    async with (
        IrcServer(tmp_path / "irc") as server,
        running(tmp_path, server, "--rate", "50") as process,
        Person.talking(server, "alice", "#lobby") as alice,
    ):
        alice.say("!chat hello")
        await alice.until_told("alice: You said: hello")
        process.send_signal(signal.SIGTERM)
        await alice.until_raw(" QUIT :")
        assert "Leaving" in alice.raw[-1]
        async with asyncio.timeout(WAIT_S):
            assert await process.wait() == 0


@pytest.mark.parametrize("way", ["environment", "configuration"])
async def test_it_finds_a_service_elsewhere(house: House, tmp_path: Path, way: str) -> None:
    await house.open()
    here = tmp_path / "here"
    here.mkdir()
    file = tmp_path / "other.toml"
    file.write_text('[nats]\nstore_dir = "data/nats"\n')
    more = ("--config", str(file)) if way == "configuration" else ()
    environment = {"ROSEY_LLM_NATS_URL": house.url} if way == "environment" else {}
    async with (
        IrcServer(here) as server,
        running(here, server, *more, environment=environment),
        Person.talking(server, "alice", "#lobby") as alice,
    ):
        alice.say("!chat hello")
        await alice.until_told("alice: You said: hello")


NOWHERE = ("bot", "irc", "--server", "127.0.0.1:9", "--channel", "lobby")


@pytest.mark.parametrize(
    ("more", "code", "said"),
    [
        ((), 3, "Cannot read the address of NATS from data/nats/url"),
        (("--nats", "nats://x:sesame@127.0.0.1:9"), 3, "Cannot connect to NATS at nats://127.0"),
        (("--pass",), 3, "Put one word into the environment variable ROSEY_LLM_IRC_SECRET"),
        (("--sasl", "a", "--secret-file", "none"), 3, "Cannot read none: No such file"),
        (("--sasl", "a", "--pass"), 2, "Give --sasl or --pass, not both."),
    ],
)
def test_what_is_missing_is_said_with_what_to_do(
    tmp_path: Path, more: tuple[str, ...], code: int, said: str
) -> None:
    done = rosey(tmp_path, *NOWHERE, *more)
    assert (done.returncode, said in done.stderr) == (code, True), done.stderr
    assert "sesame" not in done.stderr


def test_the_login_of_the_engine_is_no_login_of_a_bot() -> None:
    nats = NatsSettings(url="nats://127.0.0.1:4222", user="engine")
    with pytest.raises(CannotStart, match="ROSEY_LLM_NATS_URL: nats://user:password@host"):
        service_client(None, nats)
    service_client("nats://bot@127.0.0.1:4222", nats)
    service_client(None, NatsSettings(url="nats://127.0.0.1:4222"))


async def test_an_irc_server_that_cannot_be_reached_is_said(house: House, tmp_path: Path) -> None:
    await house.open()
    port = lasting_port()
    words = ("bot", "irc", "--server", f"127.0.0.1:{port}", "--channel", "lobby")
    done = await asyncio.to_thread(rosey, tmp_path, *words)
    assert done.returncode == 3
    assert f"127.0.0.1:{port} cannot be reached: " in done.stderr
    assert done.stderr.endswith("Correct --server.\n")


def test_without_the_extra_it_says_how_to_install_it(tmp_path: Path) -> None:
    program = "import sys; sys.modules['irc'] = None; from engine.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program, *NOWHERE],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
    )
    assert done.returncode == 3
    assert "The IRC bot needs the extra irc: " in done.stderr
    assert "[irc]" in done.stderr
