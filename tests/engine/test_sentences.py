"""An answer that must not be longer ends with a sentence; a long one comes in parts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.answering.answer_text import AnswerText
from engine.answering.sentences import SentenceLimit, in_parts

TEXTS = st.text("ab .!\n\u3002\u0301\U0001f44d\U0001f3fd", max_size=60)


def limited(pieces: list[str], max_chars: int) -> tuple[str, bool]:
    limit = SentenceLimit(max_chars)
    shown = [limit.feed(piece) for piece in pieces]
    return "".join([*shown, limit.finish()]), limit.ended


def pieces_of(text: str, cuts: list[int]) -> list[str]:
    places = sorted({min(cut, len(text)) for cut in cuts})
    return [text[a:b] for a, b in zip([0, *places], [*places, len(text)], strict=True)]


@pytest.mark.parametrize(
    ("text", "max_chars", "shown"),
    [
        ("One. Two. Three.", 16, "One. Two. Three."),
        ("One. Two. Three.", 15, "One. Two."),
        ("One. Two. Three.", 9, "One. Two."),
        ("One. Two. Three.", 8, "One."),
        ("One. Two. Three.", 3, "One"),
        ('He said "no!" (twice.) And left.', 25, 'He said "no!" (twice.)'),
        ("It is 3.14 or so. Nearly.", 20, "It is 3.14 or so."),
        ("It is about 3.14159", 15, "It is about"),
        ("A list:\n- one\n- two\n", 16, "A list:\n- one"),
        ("No sentence ends here at all", 12, "No sentence"),
        ("Donaudampfschiff", 5, "Donau"),
        (
            "\u4eca\u65e5\u3002\u660e\u65e5\u3002\u6628\u65e5",
            7,
            "\u4eca\u65e5\u3002\u660e\u65e5\u3002",
        ),
        ("Hi.     \n", 4, "Hi. "),
        ("Ok\u0301\u0301x", 3, "O"),
        ("\U0001f44d\U0001f3fd\U0001f44d\U0001f3fd", 3, "\U0001f44d\U0001f3fd"),
    ],
)
def test_an_answer_ends_with_the_last_sentence_that_fits(
    text: str, max_chars: int, shown: str
) -> None:
    assert limited([text], max_chars) == (shown, len(text.rstrip()) > max_chars)
    assert limited(list(text), max_chars) == (shown, len(text.rstrip()) > max_chars)


@given(TEXTS, st.lists(st.integers(0, 60), max_size=8), st.integers(1, 40))
def test_what_is_shown_does_not_depend_on_the_pieces_and_fits(
    text: str, cuts: list[int], max_chars: int
) -> None:
    shown, ended = limited(pieces_of(text, cuts), max_chars)
    assert (shown, ended) == limited([text], max_chars)
    assert text.startswith(shown)
    assert len(shown) <= max_chars
    assert ended is (len(text.rstrip()) > max_chars)
    if not ended:
        assert shown == text[:max_chars]
    elif text[:max_chars].strip():
        assert shown


@given(TEXTS, st.integers(1, 40))
def test_the_parts_of_a_text_are_the_text_and_fit(text: str, max_chars: int) -> None:
    parts = in_parts(text, max_chars)
    assert "".join(parts) == text
    assert all(len(part) <= max_chars for part in parts)
    assert all(parts) or not text
    assert len(parts) == 1 or len(text) > max_chars


def test_parts_end_after_sentences_and_words() -> None:
    assert in_parts("One. Two. Three and four.", 10) == ("One. Two. ", "Three and ", "four.")
    assert in_parts("One.", 10) == ("One.",)
    assert in_parts("abcdef", 4) == ("abcd", "ef")


def test_the_model_may_stop_once_the_answer_is_too_long() -> None:
    answer = AnswerText("Rosey", 1000, max_chars=13)
    assert [answer.feed(each) for each in ("Rosey: On", "e. Two", ". Th")] == ["", "One.", " Two."]
    assert answer.feed("ree.") == ""
    assert answer.content == "One. Two."
    assert answer.finish_reason == "length"
    assert answer.finish() == ""


def test_an_answer_within_both_limits_is_whole() -> None:
    answer = AnswerText("", 1000, ["alice"], max_chars=20)
    shown = [answer.feed("Well. I do"), answer.feed(" not know"), answer.finish()]
    assert "".join(shown) == answer.content == "Well. I do not know"
    assert answer.finish_reason is None
