"""The lines of an answer on a terminal."""

from __future__ import annotations

import pytest
import wcwidth
from hypothesis import given
from hypothesis import strategies as st

from engine.interfaces.terminal.word_wrap import WordWrap, filled

WORDS = st.text(st.sampled_from("ab漢。é\u0301👩\u200d👧 \t\n\u3000`"), max_size=80)


def in_pieces(text: str, width: int, size: int) -> str:
    wrap = WordWrap(lambda: width)
    pieces = [text[start : start + size] for start in range(0, len(text), size)]
    return "".join(map(wrap.feed, pieces)) + wrap.end()


@given(WORDS, st.integers(1, 20), st.integers(1, 7))
def test_only_the_places_of_spaces_change(text: str, width: int, size: int) -> None:
    shown = in_pieces(text, width, size)
    assert "".join(shown.split()) == "".join(text.split())


@given(st.text(st.sampled_from("ab漢。 \n"), max_size=80), st.integers(2, 20))
def test_no_line_is_too_long_but_one_that_is_a_single_word(text: str, width: int) -> None:
    for line in filled(text, width).split("\n"):
        assert wcwidth.width(line) <= width or " " not in line.strip()


@pytest.mark.parametrize("size", [1, 2, 5, 1000])
@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("one two three", "one two\nthree"),
        ("one  two   ", "one  two"),
        ("10\xa0000 km", "10\xa0000\nkm"),
        ("漢字漢字漢字", "漢字漢字\n漢字"),
        ("漢字漢字漢。", "漢字漢字\n漢。"),
        ("漢字漢字。漢", "漢字漢\n字。漢"),
        ("a https://example.com b", "a\nhttps://example.com b"),
        ("  - a list of\n\nwords", "  - a\nlist of\n\nwords"),
        (
            "```py\nfor i in range(9):\n```\none two three",
            "```py\nfor i in range(9):\n```\none two\nthree",
        ),
        ("👩‍👩‍👧👩‍👩‍👧👩‍👩‍👧👩‍👩‍👧👩‍👩‍👧", "👩‍👩‍👧👩‍👩‍👧👩‍👩‍👧👩‍👩‍👧\n👩‍👩‍👧"),
    ],
)
def test_words_stay_whole(text: str, shown: str, size: int) -> None:
    assert in_pieces(text, 8, size) == shown


def test_a_terminal_that_changes_is_followed() -> None:
    width = 20
    wrap = WordWrap(lambda: width)
    shown = wrap.feed("one two three four ")
    width = 5
    assert shown + wrap.feed("five six") + wrap.end() == "one two three four\nfive\nsix"
