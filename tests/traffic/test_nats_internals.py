"""Checks that nats-py and asyncio still have the private API that `nats_internals.py` uses."""

from __future__ import annotations

import asyncio
import inspect
from pathlib import Path
from typing import Any

import pytest
from nats.aio.client import Client
from nats.aio.transport import TcpTransport
from nats.protocol.parser import Parser

from engine.client.nats_client import NatsClient
from engine.traffic.nats_internals import IntakeClient, IntakeParser
from tests.support.nats_servers import Server

METHODS = {
    "_build_message": ("sid", "subject", "reply", "data", "headers"),
    "_connect_command": (),
    "_connect_to_server": ("s",),
    "_process_headers": ("headers",),
    "_process_pong": (),
    "_read_creds_user_jwt": ("creds",),
    "_read_creds_user_nkey": ("creds",),
}
COROUTINES = {"_connect_to_server", "_process_headers", "_process_pong"}
ATTRIBUTES = {
    "_current_server",
    "_pings_outstanding",
    "_pongs",
    "_pongs_received",
    "_ps",
    "_transport",
}


@pytest.mark.parametrize("name", METHODS)
def test_an_overridden_method_has_the_signature_that_it_was_overridden_with(name: str) -> None:
    theirs = getattr(Client, name)
    assert tuple(inspect.signature(theirs).parameters)[1:] == METHODS[name]
    assert inspect.iscoroutinefunction(theirs) == (name in COROUTINES)


def test_no_other_private_method_is_overridden() -> None:
    overridden = {
        name
        for cls in (NatsClient, IntakeClient)
        for name, member in vars(cls).items()
        if inspect.isfunction(member) and name.startswith("_") and hasattr(Client, name)
    }
    assert overridden - {"__init__"} == set(METHODS)


def test_the_private_attributes_exist() -> None:
    assert set(vars(Client())) >= ATTRIBUTES
    assert hasattr(TcpTransport(), "_io_writer")  # type: ignore[no-untyped-call]


def test_the_parser_is_asked_for_bytes() -> None:
    assert tuple(inspect.signature(Parser.parse).parameters) == ("self", "data")
    assert tuple(inspect.signature(IntakeParser.parse).parameters) == ("self", "data")


async def test_asyncio_still_notes_whether_a_stream_is_over_tls() -> None:
    reader = asyncio.StreamReader()
    assert asyncio.StreamReaderProtocol(reader)._over_ssl is False  # type: ignore[attr-defined]


@pytest.mark.process
@pytest.mark.parametrize("what", ["flush", "request"])
async def test_a_cancellation_in_the_moment_of_the_answer_is_not_lost(
    tmp_path: Path, what: str
) -> None:
    asking: asyncio.Task[object]

    class Racing(NatsClient):
        async def _process_pong(self) -> None:
            await super()._process_pong()
            if what == "flush":
                asking.cancel()

        async def _process_msg(self, *args: Any) -> None:
            await super()._process_msg(*args)
            asking.cancel()

    async with Server(tmp_path, "") as server:
        client = Racing()
        await client.connect(server.url)
        asking = asyncio.create_task(
            client.flush() if what == "flush" else client.request("nobody", b"")
        )
        await asyncio.wait({asking})
        assert asking.cancelled()
        await client.close()
