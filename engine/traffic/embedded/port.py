"""The port of the embedded server: whether it is free, and which program has it if not."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import orjson

HOST = "127.0.0.1"
SERVER_NAME = "rosey-llm"
_TRIED = 100
_LOOK_S = 3.0


@dataclass(frozen=True, slots=True)
class Occupant:
    """The program that listens on a port of this machine.

    - `kind`: "embedded" is the server of another rosey-llm, "nats" any other NATS server that says
      so before it is asked
    - `needs_login`: whether a NATS server asks for one
    """

    kind: Literal["nobody", "embedded", "nats", "other"]
    needs_login: bool = False


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As the server does: closed connections then do not hold the port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def free_ports(wanted: int) -> Iterator[int]:
    """Yield the free ones from `wanted` upwards; 0 for any."""
    last = min(wanted + _TRIED, 65536)
    yield from filter(is_free, range(wanted, last)) if wanted else (0,)


async def occupant_of(port: int) -> Occupant:
    """Find out which program listens on the port. Takes three seconds if it says nothing."""
    if port == 0 or is_free(port):
        return Occupant("nobody")
    try:
        async with asyncio.timeout(_LOOK_S):
            reader, writer = await asyncio.open_connection(HOST, port)
            try:
                line = await reader.readline()
            finally:
                writer.close()
        word, _, rest = line.partition(b" ")
        told = orjson.loads(rest) if word == b"INFO" else None
    except (OSError, TimeoutError, ValueError):  # ValueError: a line without end, or not JSON
        return Occupant("other")
    if not isinstance(told, dict) or "server_id" not in told:
        return Occupant("other")
    if told.get("server_name") == SERVER_NAME:
        return Occupant("embedded", needs_login=True)
    return Occupant("nats", bool(told.get("auth_required") or told.get("tls_required")))


def in_the_way(port: int, occupant: Occupant) -> str:
    """Say that another NATS server has the port, and how to use it or to go beside it."""
    login = ", with its user and password" * occupant.needs_login
    return (
        f"A NATS server answers on port {port}. To use it, write this into rosey-llm.toml{login}:"
        f"\n\n{two_lines(port)}\n\nFor an embedded server beside it, set [nats] port to another"
        " one, or to 0 for any."
    )


def two_lines(port: int) -> str:
    """Return the configuration that uses the NATS server on this port."""
    return f'[nats]\nurl = "nats://{HOST}:{port}"'
