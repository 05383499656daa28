"""What `rosey-llm check` sees on a NATS server: engines, streams, permissions, sizes."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import nats
import orjson
import pytest
from nats.aio.client import Client

from engine.config.settings import NatsSettings, SubjectSettings
from engine.traffic import examination
from engine.traffic.examination import NatsFindings, OwnService, examine
from engine.traffic.micro_service import database_mark
from providers.validation import Secret
from tests.fakes.llm_server import Behaviour, LLMServer
from tests.support.nats_logins import GUEST, INPUTS, LOGIN, logins
from tests.support.nats_servers import Server, service
from tests.support.patience import WAIT_S
from tests.support.service_harness import House

pytestmark = pytest.mark.process
ENOUGH = 256 * 1024
NOBODY = OwnService(False, "our own mark")
# A login that may ask whether another engine runs.
ASKS: dict[str, Any] = {"says": ["llm.>", "rosey.>", "$SRV.>"], "services": ["$SRV.>", "_INBOX.>"]}


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for an engine, or a server, that gets no processor for a while."""
    monkeypatch.setattr(examination, "ASK_S", WAIT_S)


async def found(
    server: Server, reply_bytes: int = ENOUGH, own: OwnService = NOBODY, **more: Any
) -> NatsFindings:
    return await examine(NatsSettings(url=server.url, **more), reply_bytes, own)


async def js(client: Client, what: str, **config: Any) -> None:
    reply = await client.request(f"$JS.API.STREAM.{what}", orjson.dumps(config), timeout=WAIT_S)
    assert "error" not in orjson.loads(reply.data), reply.data


async def test_a_server_without_faults_has_none(tmp_path: Path) -> None:
    async with Server(tmp_path, "") as server:
        assert await found(server) == NatsFindings()


# --- Another engine


@pytest.mark.usefixtures("patient")
async def test_another_engine_on_the_same_subjects_is_seen(house: House, tmp_path: Path) -> None:
    async with Server(tmp_path, "") as server, service(house, server):
        (problem,) = (await found(server)).problems
        assert problem.startswith(f"another engine listens on {' and '.join(INPUTS)}: rosey-llm (")
        assert f"process {os.getpid()} on " in problem
        other = SubjectSettings(chat="other.chat", request="other.request")
        assert await found(server, subjects=other) == NatsFindings()
        half = SubjectSettings(chat="other.chat")
        assert (await found(server, subjects=half)).problems


@pytest.mark.usefixtures("patient")
async def test_the_running_service_itself_is_not_another_engine(
    house: House, tmp_path: Path
) -> None:
    async with Server(tmp_path, "") as server, service(house, server):
        mark = database_mark(Path(house.settings.storage.path))
        own = await found(server, own=OwnService(True, mark))
        assert own.running.startswith(f"rosey-llm (process {os.getpid()} on ")
        assert own == NatsFindings(running=own.running)
        assert (await found(server, own=OwnService(True, "another mark"))).problems


@pytest.mark.usefixtures("patient")
async def test_an_engine_that_is_ending_is_only_noted(
    house: House, tmp_path: Path, llm: LLMServer
) -> None:
    hold = asyncio.Event()
    llm.plan(Behaviour(hold=hold))
    async with Server(tmp_path, "") as server, service(house, server) as app:
        bot = await house.new_bot()
        await bot.chat("Hi")
        await llm.wait_for_requests(1)
        ending = asyncio.create_task(app.drain())
        while not (ended := await found(server)).notes:
            assert ended.problems
        (note,) = ended.notes
        assert note.startswith(f"Another engine is still ending at {server.url}: rosey-llm (")
        hold.set()
        await ending


async def test_without_the_micro_service_the_probe_finds_it(house: House, tmp_path: Path) -> None:
    async with (
        Server(tmp_path, logins(services=["_INBOX.>"])) as server,
        service(house, server, **LOGIN),
    ):
        login: dict[str, Any] = {"user": "guest", "password": Secret("guest-secret")}
        assert (await found(server, **login)).problems
        running = OwnService(True, "whatever: it cannot say its mark")
        assert await found(server, own=running, **login) == NatsFindings()


async def test_a_login_that_may_not_ask_is_told_so_and_fails_for_nothing(
    house: House, tmp_path: Path
) -> None:
    async with Server(tmp_path, logins()) as server, service(house, server, **LOGIN):
        nats_findings = await found(server, user="engine", password=Secret("engine-secret"))
        assert nats_findings.problems == []
        (note,) = nats_findings.notes
        assert note.endswith("is not known: the login may not ask.")


async def test_the_examination_reaches_no_bot_and_is_not_counted(
    house: House, tmp_path: Path
) -> None:
    async with Server(tmp_path, "") as server, service(house, server):
        bot = await house.new_bot()
        await found(server)
        await bot.flush()
        await bot.ask("Hi")
        assert [each["type"] for each in bot.received_outcomes()] == ["llm_response"]
        assert house.app is not None
        assert house.app._listener.received == 1


# --- Streams


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("subjects", [["llm.request"], ["llm.>"], ["rosey.>", "llm.request"]])
async def test_a_stream_that_captures_an_input_is_named(
    tmp_path: Path, subjects: list[str]
) -> None:
    config = f'jetstream {{ store_dir: "{tmp_path}/js" }}'
    async with Server(tmp_path, config) as server:
        client = await nats.connect(server.url)
        await js(client, "CREATE.ARCHIVE", name="ARCHIVE", subjects=subjects, storage="memory")
        (problem,) = (await found(server)).problems
        assert problem.startswith("the JetStream stream ARCHIVE captures ")
        assert "llm.request" in problem
        assert ("rosey.command.chat" in problem) is ("rosey.>" in subjects)
        await client.close()


@pytest.mark.parametrize(
    "config", [{"subjects": ["llm.response", "llm.error"]}, {"subjects": ["llm.>"], "no_ack": True}]
)
async def test_a_stream_that_confirms_no_request_is_welcome(
    tmp_path: Path, config: dict[str, Any]
) -> None:
    async with Server(tmp_path, f'jetstream {{ store_dir: "{tmp_path}/js" }}') as server:
        client = await nats.connect(server.url)
        await js(client, "CREATE.ARCHIVE", name="ARCHIVE", storage="memory", **config)
        assert await found(server) == NatsFindings()
        await client.close()


# --- Permissions and sizes


@pytest.mark.parametrize("deaf", [["rosey.command.chat"], ["llm.request"], INPUTS])
async def test_an_input_that_the_login_may_not_hear_is_named(
    tmp_path: Path, deaf: list[str]
) -> None:
    heard = [subject for subject in INPUTS if subject not in deaf]
    async with Server(tmp_path, logins(hears=heard, **ASKS)) as server:
        nats_findings = await found(server, user="engine", password=Secret("engine-secret"))
    (problem,) = nats_findings.problems
    assert problem.startswith(f"the login may not subscribe to {' and '.join(deaf)}, so")
    assert not nats_findings.notes


async def test_a_server_for_short_messages_only_is_named_with_what_to_set(tmp_path: Path) -> None:
    async with Server(tmp_path, "max_payload: 65536") as server:
        (problem,) = (await found(server)).problems
        assert "max_payload of 65536 bytes is too small for an answer of 262144 bytes" in problem
        limit = int(problem.rpartition("max_reply_bytes to ")[2].split()[0])
        assert await found(server, limit) == NatsFindings()
        assert (await found(server, limit + 1)).problems


async def test_a_server_that_refuses_the_login_is_not_examined(tmp_path: Path) -> None:
    async with Server(tmp_path, logins()) as server:
        with pytest.raises(ConnectionError, match="it refuses the login"):
            await found(server)
        guest: dict[str, Any] = {"user": GUEST["user"], "password": Secret(GUEST["password"])}
        assert await found(server, **guest) == NatsFindings()
