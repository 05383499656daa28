"""What the refrain finds is what parsing the chunk would give, or nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.refrain import MOST_CHUNKS, TRIES, Refrain


def text_in(chunk: Any) -> object:
    return chunk.get("text") if isinstance(chunk, dict) else None


def chunk(text: object, **more: object) -> bytes:
    return orjson.dumps({"id": "a", "text": text, "end": None, **more})


def taught(*chunks: bytes) -> Refrain:
    refrain = Refrain(text_in)
    for each in chunks:
        refrain.learn(each, orjson.loads(each))
    return refrain


def heard(refrain: Refrain, chunks: Sequence[bytes | None]) -> list[str]:
    """The texts up to the first chunk that must be parsed."""
    found: list[str] = []
    while texts := refrain.texts(chunks, len(found)):
        found += texts
    return found


def test_nothing_is_known_at_first() -> None:
    assert Refrain(text_in).texts([chunk("Hi")]) == []


@pytest.mark.parametrize("text", ["there", "", "Hi", '"', "\\", "\u2028🙂", "end"])
def test_the_text_of_a_chunk_like_the_last_one_is_found(text: str) -> None:
    assert taught(chunk("Hi")).texts([chunk(text)]) == [text]


OTHERS = [
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
    None,
]


@pytest.mark.parametrize("other", OTHERS)
def test_a_chunk_that_says_more_than_its_text_must_be_parsed(other: bytes | None) -> None:
    assert taught(chunk("Hi")).texts([other]) == []


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("ahead", [0, 1, 2, 5, MOST_CHUNKS, 2 * MOST_CHUNKS + 1])
def test_texts_are_found_together_up_to_such_a_chunk(ahead: int, other: bytes | None) -> None:
    said = [str(number) for number in range(ahead)]
    chunks = [*map(chunk, said), other, chunk("behind it")]
    assert heard(taught(chunk("Hi")), chunks) == said


def test_two_halves_of_a_text_are_none_even_where_the_count_is_right() -> None:
    parts = (b'"one","two"', b'"a', b'b"')
    chunks = [chunk("Hi").replace(b'"Hi"', part) for part in parts]
    assert taught(chunk("Hi")).texts(chunks) == []


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
    assert refrain.texts([first]) == refrain.texts([chunk("Hi")]) == []


def test_who_says_something_new_each_time_is_soon_not_listened_to() -> None:
    refrain = taught(*(chunk("Hi", noise=number) for number in range(TRIES)))
    refrain.learn(chunk("Hi"), orjson.loads(chunk("Hi")))
    assert refrain.texts([chunk("there")]) == []


def test_a_refrain_may_change_as_often_as_it_is_used_between() -> None:
    refrain = Refrain(text_in)
    for number in range(5 * TRIES):
        refrain.learn(chunk("Hi", created=number), orjson.loads(chunk("Hi", created=number)))
        assert refrain.texts([chunk("there", created=number)]) == ["there"]


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
    refrain = Refrain(text_in)
    learned: list[dict[str, Any]] = []
    chunks = [{**around[number % len(around)], "text": text, "z": None} for number, text in said]
    while chunks:
        found = refrain.texts([*map(write, chunks)])
        for text in found:
            parsed = chunks.pop(0)
            assert {**parsed, "text": text} == parsed
            assert any({**one, "text": text} == parsed for one in learned)
        if not found:
            learned.append(chunks.pop(0))
            refrain.learn(write(learned[-1]), learned[-1])
