"""Tests of which headers are read as a W3C trace context."""

from __future__ import annotations

import pytest

from providers.trace import TraceContext, read

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
GOOD = f"00-{TRACE}-{SPAN}-01"


@pytest.mark.parametrize("name", ["traceparent", "Traceparent", "TRACEPARENT"])
def test_the_headers_names_may_be_in_any_case(name: str) -> None:
    assert read({name: GOOD, "TraceState": "a=1"}) == TraceContext(GOOD, "a=1")


@pytest.mark.parametrize(
    ("traceparent", "taken"),
    [
        (GOOD, GOOD),
        (f" {GOOD}\t", GOOD),
        (f"00-{TRACE}-{SPAN}-ff", f"00-{TRACE}-{SPAN}-ff"),
        # A later version may have more fields: unknown ones are not passed on.
        (f"01-{TRACE}-{SPAN}-01", GOOD),
        (f"cc-{TRACE}-{SPAN}-03-what-the-future", GOOD),
        (f"cc-{TRACE}-{SPAN}-02", f"00-{TRACE}-{SPAN}-00"),
    ],
)
def test_a_trace_context_is_read(traceparent: str, taken: str) -> None:
    assert read({"traceparent": traceparent}) == TraceContext(taken)


@pytest.mark.parametrize(
    "traceparent",
    [
        "",
        "garbage",
        GOOD[:-1],
        f"{GOOD}0",
        f"{GOOD}-more",
        f"{GOOD}\n",
        f"{GOOD}\r\nX-Other: 1",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        GOOD.upper(),
        f"00-{TRACE}-{SPAN}-0g",
        f"00-{TRACE} {SPAN}-01",
        f"cc-{TRACE}-{SPAN}-01.more",
        f"cc-{TRACE}-{SPAN}-01-\r\nX-Other: 1",
        f"{GOOD[:-1]}\u0661",
    ],
)
def test_garbage_is_no_trace_context(traceparent: str) -> None:
    assert read({"traceparent": traceparent, "tracestate": "a=1"}) is None


@pytest.mark.parametrize(
    "state", ["a=1", "a=1,b=2", "a=1 ,\tb=2", "rojo=00f067aa0ba902b7", "fw529a3039@dt=x y"]
)
def test_a_tracestate_is_taken_as_it_is(state: str) -> None:
    assert read({"traceparent": GOOD, "tracestate": state}) == TraceContext(GOOD, state)


@pytest.mark.parametrize(
    "state",
    [
        *("", "a", "A=1", "a==1", "a=1\r\nX: 1", "a=\x7f", "a=ä", "a=" + "x" * 600),
        ",".join(f"k{n}=1" for n in range(33)),
    ],
)
def test_a_tracestate_that_is_garbage_is_left_out(state: str) -> None:
    assert read({"traceparent": GOOD, "tracestate": state}) == TraceContext(GOOD)
