"""A second engine on the same subjects sees the first one, and does not start."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

import nats
import orjson
import pytest
import tomlkit
from nats.aio.client import Client
from nats.aio.msg import Msg

from engine.app import App, build_app
from engine.errors import CannotStart, SecondEngine, StartLater
from engine.traffic import other_engines
from tests.fakes.llm_server import Behaviour, LLMServer
from tests.support.command_line import COMMAND
from tests.support.documented_server import documented_server
from tests.support.nats_logins import GUEST, INPUTS, LOGIN, OUTPUTS, logins
from tests.support.nats_servers import Server, service
from tests.support.patience import WAIT_S, until
from tests.support.service_harness import Bot, House
from tests.support.service_process import configuration, running
from tests.traffic.test_going_away import ROUTES, clustered

pytestmark = pytest.mark.process
# A login that may use the probe, and nothing of the micro service.
PROBES: dict[str, Any] = {"says": [*OUTPUTS, *INPUTS], "services": ["_INBOX.engine.>"]}


@pytest.fixture
def second(tmp_path: Path, llm: LLMServer) -> House:
    (tmp_path / "second").mkdir()
    return House(tmp_path / "second", llm)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait only shortly for a client that says nothing."""
    monkeypatch.setattr(other_engines, "FIRST_ANSWER_S", 0.1)


@asynccontextmanager
async def started(
    house: House, server: Server, *, second: bool = False, **nats_settings: Any
) -> AsyncIterator[App]:
    house.config["nats"] = {"url": server.url} | nats_settings
    house.app = build_app(house.settings, second=second)
    try:
        async with asyncio.timeout(WAIT_S):
            await house.app.start()
        yield house.app
    finally:
        await house.close()


async def refusal(house: House, server: Server, **nats_settings: Any) -> CannotStart:
    """Return why the engine does not start."""
    try:
        async with started(house, server, **nats_settings):
            raise AssertionError("it has started")
    except CannotStart as exc:
        return exc


# --- It refuses


async def test_a_second_engine_refuses_to_start_and_names_the_first(
    house: House, second: House, tmp_path: Path
) -> None:
    async with Server(tmp_path, "") as server, service(house, server):
        refused = await refusal(second, server)
        assert isinstance(refused, SecondEngine)
        assert f"rosey-llm (process {os.getpid()} on {socket.gethostname()}" in str(refused)
        assert ", since 20" in str(refused)
        assert f"listens on {' and '.join(INPUTS)} at {server.url}" in str(refused)
        assert "rosey-llm run --second" in str(refused)
        bot = await house.new_bot()
        assert (await bot.ask("Hi"))["content"] == "You said: Hi"
        await bot.flush()
        assert len(bot.received_outcomes()) == 1


async def test_an_engine_that_shares_one_input_is_a_second_one(
    house: House, second: House, tmp_path: Path
) -> None:
    async with Server(tmp_path, "") as server, service(house, server):
        for subject in ("chat", "request"):
            refused = await refusal(second, server, subjects={subject: "other.subject"})
            assert isinstance(refused, SecondEngine)


async def test_engines_on_other_subjects_start_beside_each_other(
    house: House, second: House, tmp_path: Path
) -> None:
    other = {"chat": "other.chat", "request": "other.request"}
    async with (
        Server(tmp_path, "") as server,
        service(house, server),
        started(second, server, subjects=other),
    ):
        bot = await house.new_bot()
        assert (await bot.ask("Hi"))["content"] == "You said: Hi"


async def test_if_two_are_meant_the_second_starts(
    house: House, second: House, tmp_path: Path
) -> None:
    async with (
        Server(tmp_path, "") as server,
        service(house, server),
        started(second, server, second=True),
    ):
        bot = await house.new_bot()
        await bot.chat("Hi", request_id="both")
        assert {each["request_id"] for each in await bot.outcomes(2)} == {"both"}


async def test_a_killed_engine_is_no_first_one(tmp_path: Path, llm: LLMServer) -> None:
    first, folder = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    folder.mkdir()
    async with Server(tmp_path, "") as server:
        config = configuration(llm, nats={"url": server.url})
        async with running(first, config) as one:
            (folder / "rosey-llm.toml").write_text(tomlkit.dumps(config))
            pipe = asyncio.subprocess.PIPE
            two = await asyncio.create_subprocess_exec(
                *(COMMAND, "run"), cwd=folder, stdout=pipe, stderr=pipe
            )
            async with asyncio.timeout(WAIT_S):
                said, errors = await two.communicate()
            assert (two.returncode, said) == (4, b"")
            assert f"(process {one.process.pid} on" in errors.decode()
            await one.kill()
            async with running(folder, config) as two_again:
                assert (await two_again.bot.ask("Hi"))["content"] == "You said: Hi"
                assert "engine" not in two_again.log


async def test_a_chat_in_the_terminal_is_no_second_engine(tmp_path: Path, llm: LLMServer) -> None:
    async with (
        Server(tmp_path, "") as server,
        running(tmp_path, configuration(llm, nats={"url": server.url})),
    ):
        pipe = asyncio.subprocess.PIPE
        chat = await asyncio.create_subprocess_exec(
            *(COMMAND, "chat"), cwd=tmp_path, stdin=pipe, stdout=pipe
        )
        async with asyncio.timeout(WAIT_S):
            said, _ = await chat.communicate(b"Hello\n")
        assert (chat.returncode, said) == (0, b"You said: Hello\n")


# --- One that ends, or starts, at the same time


async def test_an_engine_that_is_ending_is_waited_for(
    house: House, second: House, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    hold = asyncio.Event()
    async with Server(tmp_path, "") as server, service(house, server) as first:
        bot = await house.new_bot()
        house.llm.plan(Behaviour(hold=hold))
        await bot.chat("Hi", request_id="r")
        await house.llm.wait_for_requests(1)
        ending = asyncio.create_task(first.drain())
        async with asyncio.TaskGroup() as tasks:
            starting = tasks.create_task(opened(second, server))
            await until(lambda: "Waiting up to 20 s: another engine" in caplog.text)
            assert "is still ending" in caplog.text
            assert not starting.done()
            hold.set()
        await ending
        (answer,) = await bot.outcomes(1)
        assert answer["content"] == "You said: Hi"
        assert (await bot.ask("Hi"))["content"] == "You said: Hi"
        await second.close()


async def asked(bot: Bot) -> dict[str, Any]:
    """Return what the engine says of itself."""
    return await bot.call("$SRV.INFO.rosey-llm", b"")


async def opened(house: House, server: Server) -> None:
    house.config["nats"] = {"url": server.url}
    house.app = build_app(house.settings)
    await house.app.start()


async def test_an_engine_that_does_not_end_in_time_is_a_failure_that_may_pass(
    house: House, second: House, tmp_path: Path
) -> None:
    hold = asyncio.Event()
    second.config["service"] = {"drain_timeout_s": 0.1}
    async with Server(tmp_path, "") as server, service(house, server) as first:
        bot = await house.new_bot()
        house.llm.plan(Behaviour(hold=hold))
        await bot.chat("Hi")
        await house.llm.wait_for_requests(1)
        ending = asyncio.create_task(first.drain())
        while (await asked(bot))["metadata"]["state"] != "draining":
            pass
        refused = await refusal(second, server)
        assert isinstance(refused, StartLater)
        assert refused.exit_code == 75
        assert "is still ending. Try again when it has ended." in str(refused)
        hold.set()
        await ending


@pytest.mark.parametrize("login", [{}, LOGIN], ids=["micro service", "probe"])
async def test_of_two_that_start_at_once_at_most_one_stays(
    house: House, second: House, tmp_path: Path, login: dict[str, str]
) -> None:
    async with Server(tmp_path, logins(**PROBES) if login else "") as server:
        apps = []
        for each in (house, second):
            each.config["nats"] = {"url": server.url} | login
            apps.append(build_app(each.settings))
        async with asyncio.timeout(WAIT_S):
            results = await asyncio.gather(*(app.start() for app in apps), return_exceptions=True)
        refused = [each for each in results if each is not None]
        assert refused
        assert all(isinstance(each, SecondEngine | StartLater) for each in refused)
        if not login:
            assert len(refused) == 1
        for app, result in zip(apps, results, strict=True):
            if result is None:
                await app.drain()


@pytest.mark.real
async def test_of_two_on_two_servers_of_a_cluster_at_most_one_stays(
    house: House, second: House, tmp_path: Path
) -> None:
    async with clustered(tmp_path / "one", []) as one:
        await until(lambda: ROUTES.search(one.log) is not None)
        routes = [f"nats://{each}" for each in ROUTES.findall(one.log)]
        async with clustered(tmp_path / "two", routes) as two:
            await until(lambda: "Route connection created" in two.log)
            apps = []
            for each, server in ((house, one), (second, two)):
                each.config["nats"] = {"url": server.url}
                apps.append(build_app(each.settings))
            async with asyncio.timeout(WAIT_S):
                results = await asyncio.gather(
                    *(app.start() for app in apps), return_exceptions=True
                )
            refused = [each for each in results if each is not None]
            assert len(refused) == 1, results
            assert isinstance(refused[0], SecondEngine | StartLater)
            for app, result in zip(apps, results, strict=True):
                if result is None:
                    await app.drain()


# --- Permissions


async def test_with_the_documented_permissions_a_second_engine_is_seen(
    house: House, second: House, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with documented_server(house, tmp_path, "permissions") as server:
        assert isinstance(await refusal(second, server, **LOGIN), SecondEngine)
        assert "is not known" not in caplog.text
        assert "Violation" not in server.log


async def test_without_the_micro_service_the_probe_finds_the_first(
    house: House, second: House, tmp_path: Path
) -> None:
    async with Server(tmp_path, logins(**PROBES)) as server, service(house, server, **LOGIN):
        assert isinstance(await refusal(second, server, **LOGIN), SecondEngine)


async def test_a_login_that_may_not_ask_starts_with_a_warning(
    house: House, second: House, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    login: dict[str, Any] = {**LOGIN}
    async with (
        Server(tmp_path, logins()) as server,
        service(house, server, **login),
        started(second, server, **login),
    ):
        warnings = [text for text in caplog.messages if "another engine" in text]
        assert len(warnings) == 2  # one of each
        assert all("docs/security.md" in text for text in warnings)
        assert "NATS refused" not in caplog.text


# --- Outages of NATS


class Spy:
    """A client that answers the question of engines, and hears it before any of them asks again."""

    def __init__(self, server: Server, on_question: Callable[[Msg], Awaitable[None]]) -> None:
        self._server = server
        self._on_question = on_question
        self._returned = asyncio.Event()
        self._client = Client()

    @staticmethod
    def users(*logins: dict[str, str]) -> str:
        each = (f"{{ user: {login['user']}, password: {login['password']} }}" for login in logins)
        return f"authorization {{ users: [{', '.join(each)}] }}"

    async def __aenter__(self) -> Self:
        async def returned() -> None:
            self._returned.set()

        options: dict[str, Any] = {
            **GUEST,
            "max_reconnect_attempts": -1,
            "reconnect_time_wait": 0.01,
            "reconnected_cb": returned,
        }
        await self._client.connect(self._server.url, **options)
        await self._client.subscribe("$SRV.INFO.rosey-llm", cb=self._on_question)
        await self._client.flush()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()

    async def outage(self) -> None:
        """Restart the server, and let engines in only once this client hears their questions."""
        await self._server.stop()
        self._server.config = self.users(GUEST)
        await self._server.start()
        async with asyncio.timeout(WAIT_S):
            await self._returned.wait()
        await self._client.flush()
        self._server.config = self.users(LOGIN, GUEST)
        self._server.reload()


async def test_an_engine_that_came_first_after_an_outage_is_told_of(
    house: House, tmp_path: Path, llm: LLMServer
) -> None:
    (tmp_path / "first").mkdir()
    async with (
        Server(tmp_path, "") as server,
        running(tmp_path / "first", configuration(llm, nats={"url": server.url})) as first,
    ):
        first.process.send_signal(signal.SIGSTOP)
        try:
            await server.stop()
            await server.start()
            async with started(house, server):
                first.process.send_signal(signal.SIGCONT)
                told = "It started while NATS was away: another engine"
                await first.logged(lambda: told in first.log)
                assert f"(process {os.getpid()} on" in first.log
        finally:
            first.process.send_signal(signal.SIGCONT)


async def test_after_an_outage_a_second_engine_that_is_meant_is_no_fault(
    house: House, second: House, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def on_question(msg: Msg) -> None:
        meant = orjson.loads(info("rosey.command.chat"))
        meant |= {"id": "meant", "metadata": {"name": "meant", "second": "true"}}
        await msg.respond(orjson.dumps(meant))
        await msg.respond(info("rosey.command.chat"))

    login: dict[str, Any] = {**LOGIN}
    async with (
        Server(tmp_path, Spy.users(LOGIN, GUEST)) as server,
        service(house, server, **login),
        started(second, server, second=True, **login),
        # A third one, which is not meant, so that the first one says what it sees.
        Spy(server, on_question) as third,
    ):
        await third.outage()
        await until(lambda: "It started while NATS was away" in caplog.text)
    (told,) = [text for text in caplog.messages if "NATS was away" in text]
    assert "an engine that does not say its name" in told
    assert "meant" not in told.partition("If two are meant")[0]


async def test_a_server_that_is_lost_during_the_question_is_asked_again(
    house: House, second: House, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    questions = []

    async def on_question(msg: Msg) -> None:
        questions.append(msg)
        if len(questions) > 1:  # it has lost the first one, as an engine may
            await msg.respond(info("rosey.command.chat"))

    async with (
        Server(tmp_path, Spy.users(LOGIN, GUEST)) as server,
        Spy(server, on_question) as spy,
    ):
        house.config["nats"] = {"url": server.url} | LOGIN
        house.app = build_app(house.settings)
        starting = asyncio.create_task(house.app.start())
        await until(lambda: len(questions) == 1)
        await spy.outage()
        with pytest.raises(SecondEngine):
            await starting


async def test_an_empty_answer_is_not_the_word_that_there_is_no_engine(
    house: House, tmp_path: Path
) -> None:
    async with Server(tmp_path, "") as server:
        bot = await nats.connect(server.url)

        async def on_question(msg: Msg) -> None:
            await msg.respond(b"")
            await msg.respond(info("rosey.command.chat"))

        await bot.subscribe("$SRV.INFO.rosey-llm", cb=on_question)
        await bot.flush()
        assert isinstance(await refusal(house, server), SecondEngine)
        await bot.close()


def info(subject: str) -> bytes:
    """Return the answer of an engine that hears the subject."""
    return orjson.dumps({"id": "other", "endpoints": [{"subject": subject}]})


# --- Clients that say nothing


async def test_a_client_that_hears_everything_is_no_engine(
    house: House, tmp_path: Path, impatient: None
) -> None:
    async with Server(tmp_path, "") as server:
        spy = await nats.connect(server.url)
        await spy.subscribe(">")
        await spy.flush()
        async with started(house, server):
            bot = await house.new_bot()
            assert (await bot.ask("Hi"))["content"] == "You said: Hi"
        await spy.close()


async def test_an_engine_that_stood_still_is_told_of_once_it_goes_on(
    house: House,
    tmp_path: Path,
    llm: LLMServer,
    caplog: pytest.LogCaptureFixture,
    impatient: None,
) -> None:
    (tmp_path / "first").mkdir()
    async with (
        Server(tmp_path, "") as server,
        running(tmp_path / "first", configuration(llm, nats={"url": server.url})) as first,
    ):
        first.process.send_signal(signal.SIGSTOP)
        try:
            async with started(house, server):
                first.process.send_signal(signal.SIGCONT)
                stood = "It stood still while this one started: another engine"
                await until(lambda: stood in caplog.text)
                assert f"(process {first.process.pid} on" in caplog.text
                bot = await Bot.connect(server.url)
                await bot.close()
        finally:
            first.process.send_signal(signal.SIGCONT)
