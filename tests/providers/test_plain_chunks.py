"""Chunks that are like the one before give the same answer as if each was read whole."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from providers.errors import ProviderError
from providers.http.chat_completion import read_events
from providers.http.draft import Draft
from providers.http.plain_chunks import PlainChunks

CHUNK = b'{"id":"abc","model":"m","choices":[{"delta":{"content":%b},"finish_reason":null}]}'


def chunk(text: str) -> bytes:
    return CHUNK % orjson.dumps(text)


def failure(body: object) -> ProviderError:
    return ProviderError(repr(body))


def read(events: list[bytes], *, whole: bool) -> object:
    """Return what a stream gives. whole: read each event as if it was the first."""
    draft, plain = Draft("server", "asked"), PlainChunks()
    try:
        for event in events:
            read_events([event], draft, failure, PlainChunks() if whole else plain)
        text = draft.last_text()
        return text, draft.model, draft.finish_reason, draft.usage, draft.done, draft.refused
    except (ProviderError, orjson.JSONDecodeError) as exc:
        return type(exc), str(exc)


@pytest.mark.parametrize(
    "events",
    [
        [chunk("one"), chunk("two"), b"[DONE]", chunk("three")],
        [chunk("a"), chunk('"\\\n\u00e9\u2028'), CHUNK % b'"\\u0062\\/"', chunk("")],
        [chunk("abc"), chunk("abc"), chunk("other")],  # also the id
        [CHUNK % b'"\\u0061bc"', chunk("x").replace(b"abc", b"other"), chunk("y")],
        [chunk("a"), CHUNK % b'"b","role":"c"', chunk("d")],
        [chunk("a"), CHUNK % b'"b","content":"c"', CHUNK % b'"d","content":"e"', chunk("f")],
        [chunk("a"), CHUNK % b"null", CHUNK % b"7", CHUNK % b'["b"]', CHUNK % b'{"text":"c"}'],
        [chunk("a"), CHUNK % b'"unended', chunk("b")],
        [chunk("a"), CHUNK % b'"\\ud800"', CHUNK % b'"\xff"', chunk("b")],
        [chunk("a"), chunk("b").replace(b"null", b'"stop"'), chunk("c")],
        [chunk("a"), chunk("b").replace(b'"m"', b'"n"'), chunk("c")],
        [chunk("a"), chunk("b")[:-1] + b',"usage":{"prompt_tokens":1,"completion_tokens":2}}'],
        [chunk("a"), b'{"error":{"message":"overloaded"}}'],
        [chunk("a"), b'{"id":"abc","model":"m","choices":[{"delta":{"content":', chunk("b")],
    ],
)
def test_a_chunk_that_is_like_the_one_before_is_read_as_if_it_was_read_whole(
    events: list[bytes],
) -> None:
    assert read(events, whole=False) == read(events, whole=True)


TEXTS = st.text(st.sampled_from('ab"\\,:{}[]c') | st.characters(), max_size=8)
FIELDS = st.sampled_from([b"content", b"role", b"refusal"])


@given(st.lists(st.tuples(FIELDS, TEXTS, TEXTS), min_size=2, max_size=6))
@settings(max_examples=200, deadline=None)
def test_any_chunks_give_what_they_give_by_themselves(
    parts: list[tuple[bytes, str, str]],
) -> None:
    events = [
        b'{"id":%b,"choices":[{"delta":{"%b":%b}}]}'
        % (orjson.dumps(name), field, orjson.dumps(text))
        for field, name, text in parts
        if not any("\ud800" <= each <= "\udfff" for each in name + text)
    ]
    assert read(events, whole=False) == read(events, whole=True)


def test_only_the_text_of_such_a_chunk_is_decoded() -> None:
    plain = PlainChunks()
    plain.learn(chunk("one"), orjson.loads(chunk("one")))
    assert plain.text_of(chunk("two")) == "two"
    assert plain.text_of(chunk("two").replace(b"null", b'"stop"')) == ""
