"""Tests of the parsers: lines, events, and that their time grows only linearly with the bytes."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from providers.http.stream_parser import Events, JsonLines, Lines, ServerSentEvent, TooLong, parsed

STREAM = (
    "\ufeffdata: Grüße\r\n\r\n"
    ": a comment\r"
    "data:no space\rdata:  two lines\r\r"
    "event: error\nid: 7\ndata: 🙂\u2028\u0085 in one line\n\n"
    "\n\n"
    "retry: 3\n\n"
    "data\n\n"
    "data: the last"
).encode()
EVENTS = [
    "Grüße".encode(),
    b"no space\n two lines",
    ServerSentEvent("🙂\u2028\u0085 in one line".encode(), "error"),
    b"the last",
]


def events(blocks: Iterable[bytes]) -> list[bytes | ServerSentEvent]:
    reader = Events()
    found = [event for block in blocks for event in reader.feed(block)]
    return [*found, *reader.finish()]


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, len(STREAM)])
def test_events_do_not_depend_on_how_the_bytes_were_cut(size: int) -> None:
    assert events(STREAM[i : i + size] for i in range(0, len(STREAM), size)) == EVENTS


def test_every_single_cut_gives_the_same_events() -> None:
    for cut in range(len(STREAM)):
        assert events([STREAM[:cut], b"", STREAM[cut:]]) == EVENTS


@pytest.mark.parametrize(
    ("blocks", "found"),
    [
        ([b"data: a\n\ndata: b\n\n"], [b"a", b"b"]),
        ([b"data: a\n\n", b"data: b\n\n"], [b"a", b"b"]),
        ([b"data: a\ndata: b\n\n"], [b"a\nb"]),
        ([b"data: a\n", b"data: b\n\ndata: c\n\n"], [b"a\nb", b"c"]),
        ([b"event: error\n", b"data: a\n\n"], [ServerSentEvent(b"a", "error")]),
        ([b"data: a\n\nevent: error\ndata: b\n\n"], [b"a", ServerSentEvent(b"b", "error")]),
        ([b"data: a\n\n\ndata: b\n\n"], [b"a", b"b"]),
        ([b"data: a\n\n: hm\n\ndata: b\n\n"], [b"a", b"b"]),
        ([b": hm\r", b"data: a\n\n", b"\ndata: b\n\n"], [b"a", b"b"]),
        ([b"da", b"data: a\n\n"], []),
        ([b"data: a\n\ndata:b\n\n"], [b"a", b"b"]),
        ([b"data: \n\ndata: b\n\n"], [b"b"]),
        ([b"event: odd\n\n", b"data: b\n\n"], [b"b"]),
        ([b"\xef\xbb\xbfdata: a\n\ndata: b\n\n"], [b"a", b"b"]),
        ([b"data: a\rdata: b\n\n"], [b"a\nb"]),
    ],
)
def test_blocks_of_simple_events_are_read_like_all_others(
    blocks: list[bytes], found: list[bytes | ServerSentEvent]
) -> None:
    assert events(blocks) == found
    assert events(bytes([byte]) for block in blocks for byte in block) == found


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
def test_cr_lf_and_both_end_a_line(end: bytes) -> None:
    lines = Lines()
    assert lines.feed(b"a" + end + end + b"b") == [b"a", b""]
    assert lines.finish() == [b"b"]
    assert lines.finish() == []


def test_crlf_over_two_blocks_is_one_line_end() -> None:
    lines = Lines()
    assert lines.feed(b"a\r") == [b"a"]
    assert lines.feed(b"\nb\n") == [b"b"]
    assert lines.feed(b"\n") == [b""]


def test_broken_utf8_spoils_no_other_character() -> None:
    assert parsed(b'["a\xffb"]') == ["a\ufffdb"]


def test_json_lines_pass_over_blank_lines_and_split_nowhere_inside() -> None:
    reader = JsonLines()
    text = '{"a":"x\u2028y\u0085z"}'.encode()
    assert reader.feed(b"\xef\xbb\xbf" + text + b"\n\r\n  \n{}\n{") == [text, b"{}"]
    assert reader.finish() == [b"{"]


@pytest.mark.parametrize("reader", [Lines, JsonLines, Events])
def test_a_line_over_the_limit_is_an_error(reader: type[Lines | JsonLines | Events]) -> None:
    lines = reader(limit_bytes=10)
    lines.feed(b"data: 1234")
    with pytest.raises(TooLong):
        lines.feed(b"5")


def test_an_event_of_many_lines_over_the_limit_is_an_error() -> None:
    reader = Events(limit_bytes=100)
    for _ in range(25):
        reader.feed(b"data: 123\n")
    with pytest.raises(TooLong):
        reader.feed(b"data: 123\n")


def test_the_limit_counts_a_line_not_all_of_them() -> None:
    reader = Events(limit_bytes=20)
    for _ in range(100):
        assert reader.feed(b"data: 123\n\n") == [b"123"]


def test_a_line_of_megabytes_in_small_blocks_comes_out_whole() -> None:
    # A parser of quadratic time would exceed the time limit of the tests here.
    reader = Events()
    reader.feed(b"data: ")
    for _ in range(64 * 1024):
        assert reader.feed(b"x" * 64) == []
    assert reader.feed(b"\n\n") == [b"x" * 64 * 64 * 1024]
