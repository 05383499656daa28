"""`rosey-llm run` notifies systemd on a real datagram socket; and the service files in docs/."""

from __future__ import annotations

import asyncio
import configparser
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Self

import pytest

from engine.cli.startup import EXIT_CANNOT_START
from engine.config.settings import HttpSettings, ServiceSettings
from engine.daemon.systemd import Systemd
from engine.errors import SecondEngine, StartLater
from tests.fakes.llm_server import LLMServer
from tests.support.command_line import COMMAND
from tests.support.patience import WAIT_S
from tests.support.service_process import configuration, running

DOCS = Path(__file__).parents[2] / "docs"
UNIT = DOCS / "rosey-llm.service"


class NotifySocket(asyncio.DatagramProtocol):
    """systemd's end of the notification socket."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.received: list[str] = []
        self._changed = asyncio.Event()

    @classmethod
    @asynccontextmanager
    async def at(cls, address: str) -> AsyncIterator[Self]:
        receiver = cls(address)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
            end.bind(address.replace("@", "\0", 1))
            end.setblocking(False)
            loop = asyncio.get_running_loop()
            transport, _ = await loop.create_datagram_endpoint(lambda: receiver, sock=end)
            try:
                yield receiver
            finally:
                transport.close()

    def datagram_received(self, data: bytes, addr: object) -> None:
        self.received.append(data.decode())
        self._changed.set()

    async def next(self, start: str) -> str:
        """Wait for the next datagram with this start and return it; drop those before it."""
        async with asyncio.timeout(WAIT_S):
            while True:
                while self.received:
                    if (said := self.received.pop(0)).startswith(start):
                        return said
                self._changed.clear()
                await self._changed.wait()


@pytest.mark.process
@pytest.mark.parametrize("kind", ["path", "abstract"])
async def test_systemd_is_told_each_state_of_a_service(
    tmp_path: Path, llm: LLMServer, kind: str
) -> None:
    name = f"rosey-llm-test-{os.getpid()}"
    address = f"@{name}" if kind == "abstract" else str(tmp_path / name)
    # Not more often: the socket holds only ten unread datagrams.
    environment = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "1000000"}
    async with (
        NotifySocket.at(address) as receiver,
        running(tmp_path, configuration(llm), environment) as service,
    ):
        assert await receiver.next("STATUS=") == "STATUS=Starting: NATS embedded"
        ready = await receiver.next("READY=1")
        assert re.search(r"STATUS=Ready: NATS nats://127.0.0.1:\d+, its login for bots in ", ready)
        await receiver.next("WATCHDOG=1")
        await receiver.next("WATCHDOG=1")
        service.process.send_signal(signal.SIGHUP)
        reloading = await receiver.next("RELOADING=1")
        assert re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=\d+", reloading)
        assert await receiver.next("READY=1") == "READY=1"
        (tmp_path / "rosey-llm.toml").write_text("nonsense")
        service.process.send_signal(signal.SIGHUP)
        await receiver.next("RELOADING=1")
        assert await receiver.next("READY=1") == "READY=1"
        service.process.send_signal(signal.SIGTERM)
        assert await receiver.next("STOPPING=1") == "STOPPING=1\nSTATUS=Draining"
        async with asyncio.timeout(WAIT_S):
            assert await service.process.wait() == 0


async def test_without_a_watchdog_there_are_no_keep_alive_messages(tmp_path: Path) -> None:
    address = str(tmp_path / "notify")
    async with NotifySocket.at(address) as receiver:
        for environment in (
            {"NOTIFY_SOCKET": address},
            {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "0"},
            {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "soon"},
            {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "1000", "WATCHDOG_PID": "1"},
            {"WATCHDOG_USEC": "1000"},
        ):
            systemd = Systemd.from_environment(environment)
            assert environment == {}, "a child must not find them"
            async with asyncio.timeout(WAIT_S):
                await systemd.keep_alive()  # returns
        Systemd(address).status("the\nend")
        assert await receiver.next("") == "STATUS=the end"


@pytest.mark.parametrize("address", ["/nowhere/notify", "vsock:2:1234", "notify", "/" + "x" * 200])
async def test_a_missing_socket_stops_nothing(
    address: str, caplog: pytest.LogCaptureFixture
) -> None:
    systemd = Systemd(address)
    systemd.ready("Ready")
    systemd.stopping("Draining")
    with pytest.raises(ZeroDivisionError), systemd.reloading():
        raise ZeroDivisionError
    assert "Cannot notify systemd" in caplog.text


def unit() -> dict[str, str]:
    """Return the unit's [Service] section; of a repeated key, the last value."""
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read_string(UNIT.read_text())
    return dict(parser["Service"])


def test_the_unit_gives_the_service_enough_time_to_start_and_stop() -> None:
    service = unit()
    drain_s = ServiceSettings().drain_timeout_s
    assert int(service["TimeoutStopSec"].removesuffix("s")) > 2 * drain_s
    assert service["TimeoutStartSec"] == "infinity"
    assert service["KillMode"] == "mixed"
    final = [EXIT_CANNOT_START, SecondEngine.exit_code]
    assert service["RestartPreventExitStatus"].split() == [str(code) for code in final]
    assert StartLater.exit_code not in final
    assert service["Restart"] == "on-failure"
    assert service["Type"] == "notify"


@pytest.mark.process
@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not installed")
def test_systemd_finds_no_fault_with_the_unit_and_calls_it_safe(tmp_path: Path) -> None:
    text = UNIT.read_text().replace("/opt/rosey-llm/bin/rosey-llm run", f"{COMMAND} run")
    assert COMMAND in text
    file = tmp_path / "rosey-llm.service"
    file.write_text(text)
    for command in (
        ["verify"],
        # In tenths; from 2.1 to 5 systemd calls it medium.
        ["security", "--offline=true", "--threshold=20", "--no-pager"],
    ):
        done = subprocess.run(
            ["systemd-analyze", *command, str(file)],  # noqa: S607
            capture_output=True,
            text=True,
            timeout=WAIT_S,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert "rosey-llm.service" not in done.stderr, done.stderr


def test_the_container_has_what_a_reviewer_looks_for() -> None:
    text = re.sub(r"\\\n\s*", "", (DOCS / "Containerfile").read_text())
    final = text.split("\nFROM ")[-1]
    instructions = dict(
        line.split(" ", 1) for line in final.splitlines()[1:] if re.match("[A-Z]+ ", line)
    )
    assert instructions["USER"] == "10001:10001"
    assert instructions["STOPSIGNAL"] == "SIGTERM"
    assert instructions["ENTRYPOINT"] == '["rosey-llm"]'
    assert instructions["VOLUME"] == instructions["WORKDIR"] == "/data"
    assert f"127.0.0.1:{HttpSettings().port}/healthz" in instructions["HEALTHCHECK"]
    for copied in re.findall(r"^COPY (?!--from)(.*) \S+$", text, re.MULTILINE):
        for name in copied.split():
            assert (DOCS.parent / name).exists(), name


@pytest.mark.process
async def test_the_containers_health_check_shows_whether_the_service_is_healthy(
    tmp_path: Path, llm: LLMServer
) -> None:
    text = re.sub(r"\\\n\s*", "", (DOCS / "Containerfile").read_text())
    found = re.search(r'HEALTHCHECK .*CMD \["python", "-c", "(.*)"\]', text)
    assert found

    async def healthy(port: int) -> bool:
        code = found[1].replace(str(HttpSettings().port), str(port))
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", code, stderr=subprocess.DEVNULL
        )
        async with asyncio.timeout(WAIT_S):
            return await process.wait() == 0

    with socket.socket() as unused:  # has the port, and does not listen on it
        unused.bind(("127.0.0.1", 0))
        assert not await healthy(unused.getsockname()[1])
    async with running(tmp_path, configuration(llm, http={"port": 0})):
        url = (tmp_path / "data" / "rosey-llm.db.http").read_text().strip()
        assert await healthy(int(url.rpartition(":")[2]))
