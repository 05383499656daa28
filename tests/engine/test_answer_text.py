from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.answering.answer_text import AnswerText


def whole(pieces: list[str], max_bytes: int = 1000) -> tuple[str, AnswerText]:
    answer = AnswerText("Rosey", max_bytes)
    shown = "".join([*(answer.feed(piece) for piece in pieces), answer.finish()])
    return shown, answer


@pytest.mark.parametrize(
    ("text", "content"),
    [
        ("Hello", "Hello"),
        ("  Hello", "  Hello"),
        ("Rosey: Hello", "Hello"),
        ("rosey:Hello", "Hello"),
        (" Rosey : Hello", "Hello"),
        ("Assistant: Hello", "Hello"),
        ("Rosey is my name", "Rosey is my name"),
        ("Roses: red", "Roses: red"),
        ("Rosey", "Rosey"),
        ("Rosey: Rosey: Hello", "Hello"),
        ("Hello, Rosey: here", "Hello, Rosey: here"),
        ("Rosey:", ""),
        ("", ""),
    ],
)
def test_the_bots_name_in_front_is_cut_off_however_the_answer_is_split(
    text: str, content: str
) -> None:
    for cut in range(len(text) + 1):
        assert whole([text[:cut], text[cut:]])[0] == content
    assert whole(list(text))[0] == content


@given(st.lists(st.text(max_size=8), max_size=12), st.integers(1, 40))
def test_the_shown_pieces_are_the_content_and_within_the_limit(
    pieces: list[str], max_bytes: int
) -> None:
    shown, answer = whole([piece.encode(errors="ignore").decode() for piece in pieces], max_bytes)
    assert shown == answer.content
    assert len(shown.encode()) <= max_bytes


def test_a_cut_falls_between_two_characters_and_is_noted() -> None:
    shown, answer = whole(["ää", "ää"], max_bytes=5)
    assert (shown, answer.finish_reason) == ("ää", "length")
    shown, answer = whole(["ää", "ä"], max_bytes=6)
    assert (shown, answer.finish_reason) == ("äää", None)


def test_a_usual_answer_is_shown_from_its_first_piece() -> None:
    assert AnswerText("Rosey", 100).feed("H") == "H"


def test_without_a_bot_name_nothing_is_cut_off() -> None:
    answer = AnswerText("", 100)
    assert answer.feed("  assistant: :)") + answer.finish() == "  assistant: :)"
