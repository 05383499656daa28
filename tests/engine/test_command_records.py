"""Tests of a command's JSON in the durable mailbox, with and without its trace."""

from __future__ import annotations

import pytest

from engine.commands import records
from engine.commands.records import Chat, Command, Complete, Reset, SetPersona
from providers.trace import TraceContext

TRACES = [
    None,
    TraceContext("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
    TraceContext("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00", "a=1,b=2"),
]


@pytest.mark.parametrize("trace", TRACES)
@pytest.mark.parametrize(
    "command",
    [Chat("Hi", temperature=0.5), Complete("Once", stream=True), Reset(), SetPersona("a")],
)
def test_a_command_and_its_trace_come_back_as_they_were(
    command: Command, trace: TraceContext | None
) -> None:
    body = records.encode(command, trace)
    assert (records.decode(body), records.decode_trace(body)) == (command, trace)


def test_a_command_of_an_earlier_version_is_read() -> None:
    body = b'["Chat",{"text":"Hi","model":null,"persona":"concise"}]'
    assert records.decode(body) == Chat("Hi", persona="concise")
    assert records.decode_trace(body) is None
