"""Tests that flaws beside the text of an answer never cost the text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
import pytest

from providers.errors import BadAnswer, IncompleteAnswer
from providers.http import lenient_json
from providers.http.stream_parser import Events, JsonLines, ServerSentEvent, parsed
from tests.fakes.llm_server import Behaviour, LLMServer
from tests.support.wire_replies import (
    SSE,
    delta,
    events,
    json_of,
    lines,
    message,
    ollama_at,
    openai_at,
    piece,
    streamed,
    whole,
)

HI, THERE = json_of(delta("Hi")), json_of(delta(" there", "stop"))
PRETTY = orjson.dumps(message("Hi there"), option=orjson.OPT_INDENT_2).decode()


def with_odd(value: str) -> str:
    """Return a chunk with an odd value beside its text."""
    return HI[:-1] + f', "logprobs": {value}}}'


BODIES = {
    "one newline apart": f"data: {HI}\ndata: {THERE}\ndata: [DONE]\n",
    "one newline apart, a blank line at the end": f"data: {HI}\ndata: {THERE}\ndata: [DONE]\n\n",
    "one newline apart, with CR": f"data:{HI}\r\ndata:{THERE}\r\n",
    "one newline apart, with comments": f": hm\ndata: {HI}\n: hm\ndata: {THERE}\n",
    "one newline apart, with ids": f"id: 1\ndata: {HI}\nid: 2\ndata: {THERE}\n",
    "one newline apart, with kinds": f"event: a\ndata: {HI}\nevent: b\ndata: {THERE}\nevent: c\n",
    "one newline apart after garbage": f"data: hm\ndata: {HI}\ndata: {THERE}\ndata: [DONE]\n\n",
    "NaN": f"data: {with_odd('NaN')}\n\ndata: {THERE}\n\n",
    "NaN, one newline apart": f"data: {with_odd('NaN')}\ndata: {THERE}\n",
    "infinity": f"data: {with_odd('[-Infinity, Infinity, 1e5, -0.5]')}\n\ndata: {THERE}\n\n",
    "nan of C": f"data: {with_odd('[-nan, inf]')}\n\ndata: {THERE}\n\n",
    "words of Python": f"data: {with_odd('[None, True, False]')}\n\ndata: {THERE}\n\n",
    "a comma too many": f"data: {with_odd('[1, 2, ]')}\n\ndata: {THERE}\n\n",
    "half a pair": f"data: {with_odd(chr(34) + chr(92) + 'ud83d' + chr(34))}\n\ndata: {THERE}\n\n",
    "a tab in a string": f"data: {with_odd(chr(34) + chr(9) + chr(34))}\n\ndata: {THERE}\n\n",
    "garbage between": f"data: {HI}\n\ndata: ping\n\ndata: {THERE}\n\n",
    "a kind of its own between": f"data: {HI}\n\nevent: ping\ndata: now\n\ndata: {THERE}\n\n",
    "usage as text": f'data: {HI}\n\ndata: {{"usage": "none", "choices": []}}\n\ndata: {THERE}\n\n',
    "choices of null": f'data: {HI}\n\ndata: {{"choices": [null]}}\n\ndata: {THERE}\n\n',
    "a model of null": f'data: {HI[:-1]}, "model": 7}}\n\ndata: {THERE}\n\n',
    "no data: before the lines": f"{HI}\n{THERE}\n",
    "no data: before the events": f"{HI}\n\n{THERE}\n\n",
    "a whole answer on a line": json_of(message("Hi there")),
    "a whole answer on many lines": PRETTY,
    "a whole answer with blank lines": "\n" + PRETTY.replace("\n", "\n\n"),
    "a whole answer after the pieces": f"data: {HI}\n\n{PRETTY}\ndata: [DONE]\n\n",
}


@pytest.mark.parametrize("name", BODIES)
async def test_a_token_stream_with_a_flaw_gives_its_text(llm: LLMServer, name: str) -> None:
    llm.plan(Behaviour(body=BODIES[name], content_type=SSE))
    async with openai_at(llm) as provider:
        assert (await streamed(provider)).content == "Hi there"


@pytest.mark.parametrize("name", BODIES)
def test_events_with_a_flaw_do_not_depend_on_how_the_bytes_were_cut(name: str) -> None:
    data = BODIES[name].encode()

    def read(size: int) -> list[bytes | ServerSentEvent]:
        reader = Events()
        found = [e for i in range(0, len(data), size) for e in reader.feed(data[i : i + size])]
        return [*found, *reader.finish()]

    assert read(1) == read(7) == read(len(data))


def test_events_one_newline_apart_come_one_by_one() -> None:
    reader = Events()
    assert list(reader.feed(f"data: {HI}\n".encode())) == []
    assert list(reader.feed(f"data: {THERE}\n".encode())) == [HI.encode(), THERE.encode()]
    assert list(reader.feed(f"data: {HI}\n".encode())) == [HI.encode()]
    assert list(reader.feed(b"data: [DONE]\n")) == [b"[DONE]"]


def test_data_on_several_lines_is_still_one_event() -> None:
    reader = Events()
    found = reader.feed(b'data: {"a":\ndata: 1}\n\nevent: x\ndata: {"b": 2}\n\n')
    assert list(found) == [b'{"a":\n1}', ServerSentEvent(b'{"b": 2}', "x")]
    assert list(reader.feed(b'data: {"c": 3}\nevent: y\n\n')) == [ServerSentEvent(b'{"c": 3}', "y")]


def test_kinds_belong_to_the_data_after_them_if_there_are_no_blank_lines() -> None:
    reader = Events()
    found = reader.feed(b'event: x\ndata: {"a": 1}\nevent: error\ndata: {"b": 2}\ndata: {"c": 3}\n')
    assert list(found) == [
        ServerSentEvent(b'{"a": 1}', "x"),
        ServerSentEvent(b'{"b": 2}', "error"),
        b'{"c": 3}',
    ]


@pytest.mark.parametrize(
    "odd", ["NaN", "[-Infinity]", "[nan, None, ]", '"\t\\ud83d"', '{"a": {"b": [True,]}}']
)
async def test_a_whole_answer_with_a_flaw_gives_its_text(llm: LLMServer, odd: str) -> None:
    body = json_of(message("Hi there"))[:-1] + f', "logprobs": {odd}}}'
    native = json_of(piece("Hi there", done=True))[:-1] + f', "logprobs": {odd}}}'
    llm.plan(Behaviour(body=body), Behaviour(body=body), Behaviour(body=native), lines(native))
    async with openai_at(llm) as provider:
        assert (await whole(provider)).content == "Hi there"
        assert (await streamed(provider)).content == "Hi there"
    async with ollama_at(llm) as other:
        assert (await whole(other)).content == "Hi there"
        assert (await streamed(other)).content == "Hi there"


NATIVE: dict[str, Sequence[object]] = {
    "garbage between": [piece("Hi"), "hm", piece(" there"), {"done": True}],
    "no objects between": [piece("Hi"), [], None, piece(" there"), {"done": True}],
    "a message of null": [piece("Hi"), {"message": None}, piece(" there"), {"done": True}],
    "counts as text": [piece("Hi there"), {"done": True, "eval_count": "many"}],
    "many lines": orjson.dumps(piece("Hi there", done=True), option=orjson.OPT_INDENT_2)
    .decode()
    .split("\n"),
}


@pytest.mark.parametrize("name", NATIVE)
async def test_a_stream_of_ollama_with_a_flaw_gives_its_text(llm: LLMServer, name: str) -> None:
    llm.plan(lines(*NATIVE[name]))
    async with ollama_at(llm) as provider:
        assert (await streamed(provider)).content == "Hi there"


async def test_half_a_character_does_not_cost_the_others(llm: LLMServer) -> None:
    llm.plan(events('{"choices":[{"delta":{"content":"Hi \\ud83d!"},"finish_reason":"stop"}]}'))
    async with openai_at(llm) as provider:
        assert (await streamed(provider)).content == "Hi \ufffd!"


@pytest.mark.parametrize("said", ["hm", "<html>", "1 2", "data"])
async def test_a_stream_with_nothing_usable_cannot_be_read(llm: LLMServer, said: str) -> None:
    llm.plan(events(said), events(said, "[DONE]"), lines(said), lines(said, {"done": True}))
    for provider in (openai_at(llm), openai_at(llm), ollama_at(llm), ollama_at(llm)):
        async with provider:
            with pytest.raises(BadAnswer, match="sent an answer that cannot be read"):
                await streamed(provider)


async def test_a_chunk_that_may_have_had_text_is_not_skipped(llm: LLMServer) -> None:
    broken = '{"choices":[{"delta":{"content":"Hi'
    llm.plan(events(delta("He"), broken, delta("o", "stop")), lines(piece("He"), broken))
    for provider in (openai_at(llm), ollama_at(llm)):
        async with provider:
            with pytest.raises(BadAnswer):
                await streamed(provider)


async def test_an_error_event_of_plain_text_is_shown(llm: LLMServer) -> None:
    llm.plan(Behaviour(body="event: error\ndata: upstream timed out\n\n", content_type=SSE))
    async with openai_at(llm) as provider:
        with pytest.raises(BadAnswer, match="upstream timed out"):
            await streamed(provider)


async def test_a_finish_reason_that_is_no_text_ends_the_answer(llm: LLMServer) -> None:
    llm.plan(events(delta("Hi", {"type": "stop"})), events(delta("Hi")))
    async with openai_at(llm) as provider:
        assert (await streamed(provider)).finish_reason == "other"
        with pytest.raises(IncompleteAnswer):
            await streamed(provider)


# --- The lenient reader alone


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": NaN, "b": -Infinity, "c": undefined}', {"a": None, "b": None, "c": None}),
        (
            '{"a": "NaN, None, ]", "b": [1, -2.5e3, true,],}',
            {"a": "NaN, None, ]", "b": [1, -2.5e3, True]},
        ),
        ('["\\"NaN\\"", None]', ['"NaN"', None]),
        ('["\\ud83d\\ude42", "\\ud83d"]', ["🙂", "\ufffd"]),
        ('["a\nb"]', ["a\nb"]),
    ],
)
def test_flaws_beside_strings_are_mended(text: str, value: Any) -> None:
    assert lenient_json.loads(text) == value


@pytest.mark.parametrize(
    "text",
    ["", "{", '{"a": ', '["', "hm [", "[" * 100_000, '"' + '\\"' * 100_000, "1" * 9000 + "x,"],
)
def test_what_is_no_json_stays_an_error(text: str) -> None:
    with pytest.raises(orjson.JSONDecodeError):
        parsed(f"[{text}".encode())


def test_a_body_on_many_lines_is_one_object_and_has_a_limit() -> None:
    reader = JsonLines()
    assert reader.feed(b'{\n "a": 1\n') == []
    assert reader.feed(b"}\n") == []
    assert [parsed(line) for line in reader.finish()] == [{"a": 1}]
