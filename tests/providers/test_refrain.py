"""What the refrain finds is what parsing the chunk would give, or nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.refrain import TRIES, Refrain


def text_in(chunk: Any) -> object:
    return chunk.get("text") if isinstance(chunk, dict) else None


def chunk(text: object, **more: object) -> bytes:
    return orjson.dumps({"id": "a", "text": text, "end": None, **more})


def taught(*chunks: bytes) -> Refrain:
    refrain = Refrain(text_in)
    for each in chunks:
        refrain.learn(each, orjson.loads(each))
    return refrain


def test_nothing_is_known_at_first() -> None:
    assert Refrain(text_in).text(chunk("Hi")) is None


@pytest.mark.parametrize("text", ["there", "", "Hi", '"', "\\", "\u2028🙂", "end"])
def test_the_text_of_a_chunk_like_the_last_one_is_found(text: str) -> None:
    assert taught(chunk("Hi")).text(chunk(text)) == text


@pytest.mark.parametrize(
    "other",
    [
        chunk("there", end="stop"),
        chunk("there", end=True),
        chunk("there", id="b"),
        chunk("there", usage={}),
        chunk(None),
        chunk(["there"]),
        chunk({"text": "there"}),
        chunk("Hi").replace(b'"Hi"', b'"a","text":"b"'),
        chunk("Hi").replace(b'"Hi"', b""),
        chunk("Hi").replace(b"Hi", b"\xff"),
        chunk("Hi")[:-1],
        b"[DONE]",
        b"",
    ],
)
def test_a_chunk_that_says_more_than_its_text_must_be_parsed(other: bytes) -> None:
    assert taught(chunk("Hi")).text(other) is None


@pytest.mark.parametrize(
    "first",
    [
        chunk(""),
        chunk(None),
        chunk("\n"),
        b"[]",
        b'{"id":"same","text":"same","end":null}',
        b'{"id":"\xc3\xa9","text":"\\u00e9","end":null}',
    ],
)
def test_nothing_is_learned_where_the_place_of_the_text_is_in_doubt(first: bytes) -> None:
    refrain = taught(first)
    assert refrain.text(first) is None
    assert refrain.text(chunk("Hi")) is None


def test_who_says_something_new_each_time_is_soon_not_listened_to() -> None:
    refrain = taught(*(chunk("Hi", noise=number) for number in range(TRIES)))
    refrain.learn(chunk("Hi"), orjson.loads(chunk("Hi")))
    assert refrain.text(chunk("there")) is None


def test_a_refrain_may_change_as_often_as_it_is_used_between() -> None:
    refrain = Refrain(text_in)
    for number in range(5 * TRIES):
        refrain.learn(chunk("Hi", created=number), orjson.loads(chunk("Hi", created=number)))
        assert refrain.text(chunk("there", created=number)) == "there"


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=3) | st.sampled_from(["a", "é"])
values = st.none() | texts | st.lists(texts, max_size=2)
refrains = st.dictionaries(st.sampled_from(["id", "model", "end"]), values)


def spaced(said: object) -> bytes:
    return json.dumps(said).encode()


@given(
    st.lists(refrains, min_size=1, max_size=2),
    st.lists(st.tuples(st.integers(0, 1), values), max_size=9),
    st.sampled_from([orjson.dumps, spaced]),
)
def test_what_is_found_is_what_parsing_gives(
    around: list[dict[str, Any]],
    said: list[tuple[int, object]],
    write: Callable[[object], bytes],
) -> None:
    refrain, learned = Refrain(text_in), []
    for number, text in said:
        parsed = {**around[number % len(around)], "text": text, "z": None}
        found = refrain.text(write(parsed))
        if found is None:
            refrain.learn(write(parsed), parsed)
            learned.append(parsed)
        else:
            assert {**parsed, "text": found} == parsed
            assert any({**one, "text": found} == parsed for one in learned)
