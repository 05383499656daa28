"""Mentions lose their effect, however the answer is cut into pieces."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.answering.answer_text import AnswerText
from engine.safety.mentions import GrowingMentions, Mentions

J = "\u2060"
LISTS = (
    ["@everyone", "@here"],
    ["@a@b", "@b", "@bcd", "@abc"],
    ["@"],
    ["@aba", "@ab"],
    ["@straße", "@K", "@\u017fs"],
)
# Few letters, so that many texts have mentions and beginnings of them.
TEXTS = st.text(alphabet="@aAbBcdehHrEvyon\u017fskK\u212a \n", max_size=40) | st.lists(
    st.sampled_from(["@everyone", "@EVERY", "one", "@here", "@a", "@b", "cd", "@", " ", "x"]),
    max_size=12,
).map("".join)


def in_pieces(mentions: Mentions, pieces: list[str]) -> str:
    growing = GrowingMentions(mentions)
    return "".join([*map(growing.feed, pieces), growing.finish()])


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("Hello @everyone!", f"Hello @{J}everyone!"),
        ("@EveryOne @here", f"@{J}EveryOne @{J}here"),
        ("@everyon", "@everyon"),
        ("@@everyone", f"@@{J}everyone"),
        ("ann@hereabouts.org", f"ann@{J}hereabouts.org"),
        (f"@{J}everyone", f"@{J}everyone"),
        ("nobody is called", "nobody is called"),
        ("", ""),
    ],
)
def test_a_word_joiner_stands_behind_the_sign(said: str, shown: str) -> None:
    mentions = Mentions(["@everyone", "@here"])
    assert mentions.neutralised(said) == shown
    for cut in range(len(said) + 1):
        assert in_pieces(mentions, [said[:cut], said[cut:]]) == shown
    assert in_pieces(mentions, list(said)) == shown


@pytest.mark.parametrize("listed", LISTS, ids=" ".join)
@given(pieces=st.lists(TEXTS, max_size=8))
def test_any_cut_into_pieces_gives_the_same_as_the_whole(
    listed: list[str], pieces: list[str]
) -> None:
    mentions = Mentions(listed)
    whole = mentions.neutralised("".join(pieces))
    assert in_pieces(mentions, pieces) == whole
    assert whole.replace(J, "") == "".join(pieces).replace(J, "")
    for mention in listed:
        assert mention == "@" or mention.lower() not in whole.lower()


@pytest.mark.parametrize("listed", LISTS, ids=" ".join)
@given(text=TEXTS)
def test_less_than_a_mention_is_held_back(listed: list[str], text: str) -> None:
    _, held = Mentions(listed).split(text)
    assert len(held) < max(map(len, listed))
    assert not held or held.startswith("@")


@given(pieces=st.lists(TEXTS, max_size=8), most=st.none() | st.integers(1, 40))
def test_the_pieces_of_an_answer_join_to_its_content(pieces: list[str], most: int | None) -> None:
    mentions = Mentions(["@everyone", "@here", "@a"])
    answer = AnswerText("Rosey", 60, ("ann",), most, mentions)
    shown = "".join([*map(answer.feed, pieces), answer.finish()])
    assert shown == answer.content
    assert mentions.neutralised(shown) == shown


def test_the_limits_of_an_answer_are_those_of_what_is_shown() -> None:
    answer = AnswerText("", 12, mentions=Mentions(["@here"]))
    assert answer.feed("@here @here") + answer.finish() == f"@{J}here @"
    assert answer.finish_reason == "length"
    answer = AnswerText("", 100, (), 9, Mentions(["@here"]))
    assert answer.feed("Go @here now. Or not") + answer.finish() == f"Go @{J}here"
