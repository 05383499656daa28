"""Tests that thinking is removed from an answer, however its text is cut into pieces."""

from __future__ import annotations

import pytest

from providers.base import Usage
from providers.errors import BadAnswer, ConnectionLost, IncompleteAnswer
from providers.http.draft import Draft, usage_of
from providers.http.reasoning import ReasoningFilter

SHOWN = {
    "Hello": "Hello",
    "": "",
    "  \n Hello": "  \n Hello",
    "<think>hm</think>Hello": "Hello",
    "<think></think>\n\nHello  ": "Hello  ",
    " \n<think>\na < b</thin </think>\n Hello": "Hello",
    "<thinking>hm</thinking> Hello": "Hello",
    "<REASONING>hm</reasoning>Hello": "Hello",
    "<think>hm</thinking></think>Hello": "Hello",
    "<think>never closed": "",
    "<think>hm</think>": "",
    "<think>a</think>b<think>c</think>": "b<think>c</think>",
    "Use <think>x</think> tags": "Use <think>x</think> tags",
    "<thin air": "<thin air",
    "<thi": "<thi",
    "<b>bold</b>": "<b>bold</b>",
    "</think>Hello": "</think>Hello",
    "İ<think>": "İ<think>",
    " " * 300 + "<think>": " " * 300 + "<think>",
}


def shown(pieces: list[str]) -> str:
    reasoning = ReasoningFilter()
    return "".join([*map(reasoning.feed, pieces), reasoning.finish()])


@pytest.mark.parametrize("text", SHOWN)
@pytest.mark.parametrize("size", [1, 2, 3, 1000])
def test_only_a_leading_block_is_thinking(text: str, size: int) -> None:
    assert shown([text[i : i + size] for i in range(0, len(text), size)]) == SHOWN[text]


def test_text_is_not_held_back_once_it_is_known_to_be_text() -> None:
    reasoning = ReasoningFilter()
    assert reasoning.feed("<") == ""
    assert reasoning.feed("b") == "<b"
    assert reasoning.feed("<think>") == "<think>"
    assert reasoning.finish() == ""


def test_a_draft_shows_what_its_completion_holds() -> None:
    draft = Draft("Nobody", "m")
    pieces = []
    for text in ("<thi", "nk>x</th", "ink> Hel", "lo"):
        draft.add(text)
        pieces.append(draft.new_text())
    draft.done = True
    assert draft.last_text() == draft.new_text() == ""
    assert draft.completion().content == "".join(pieces) == "Hello"


def test_new_text_is_returned_once_and_joined() -> None:
    draft = Draft("Nobody", "m")
    for text in ("<thi", "nk>x</th", "ink> Hel", "lo"):
        draft.add(text)
    assert [draft.new_text(), draft.new_text()] == ["Hello", ""]
    draft.add("<")
    assert draft.last_text() == "<"


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("stop", "stop"),
        ("length", "length"),
        ("content_filter", "content_filter"),
        ("tool_calls", "tool_calls"),
        ("function_call", "tool_calls"),
        ("insufficient_system_resource", "other"),
        ("load", "other"),
    ],
)
def test_finish_reasons_become_those_that_are_documented(said: str, reason: str) -> None:
    draft = Draft("Nobody", "m")
    draft.add("text")
    draft.last_text()
    draft.finish_reason = said
    assert draft.completion().finish_reason == reason


def test_a_draft_without_an_end_is_incomplete() -> None:
    draft = Draft("Nobody", "m")
    draft.add("half")
    draft.last_text()
    with pytest.raises(IncompleteAnswer) as caught:
        draft.completion()
    assert caught.value.partial == "half"


def test_a_draft_without_text_is_no_answer() -> None:
    draft = Draft("Nobody", "m")
    draft.add("<think>hm</think> \n")
    draft.last_text()
    draft.finish_reason = "length"
    with pytest.raises(BadAnswer, match=r"^Nobody gave an empty answer: the model thought"):
        draft.completion()


def test_a_connection_lost_before_the_first_text_stays_what_it_is() -> None:
    lost = ConnectionLost("the connection to Nobody was lost")
    assert Draft("Nobody", "m").cut_off(lost) is lost


def test_a_missing_count_of_usage_is_zero() -> None:
    assert usage_of(3, None) == Usage(3, 0)
    assert usage_of("3", -1) == Usage(0, 0)
    assert usage_of(None, True) is None
