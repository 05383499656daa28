"""Names in answers: the bot's own is removed, another speaker's line ends the answer."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.answering.answer_text import AnswerText

SPEAKERS = ("alice", "bob", "Zoë K.")


def fed(pieces: list[str], bot: str = "Rosey") -> AnswerText:
    """Return the answer after these pieces. As the engine does, stop when it has ended."""
    answer = AnswerText(bot, 10_000, SPEAKERS)
    shown = []
    for piece in pieces:
        shown.append(answer.feed(piece))
        if answer.finish_reason:
            break
    shown.append(answer.finish())
    assert "".join(shown) == answer.content
    return answer


def content(text: str) -> str:
    """Return the content of an answer; however it is split, it is the same."""
    whole = fed([text])
    for size in (1, 2, 3, 7):
        pieces = [text[start : start + size] for start in range(0, len(text), size)]
        split = fed(pieces)
        assert (split.content, split.finish_reason) == (whole.content, whole.finish_reason)
    return whole.content


@pytest.mark.parametrize(
    "text",
    [
        "Rosey: hi",
        "Rosey:hi",
        " \n rosey : hi",
        "ROSEY: hi",
        "Rosey: Rosey: hi",
        "Rosey:\nRosey: assistant: hi",
        "Rosey: **Rosey:** hi",
        "**Rosey:** hi",
        "**Rosey**: hi",
        "***Rosey***: hi",
        "*Rosey:* hi",
        "_Rosey:_ hi",
        "__Rosey__: hi",
        "`Rosey`: hi",
        "~~Rosey:~~ hi",
        "[Rosey]: hi",
        "[Rosey:] hi",
        "[Rosey] hi",
        "[**Rosey**]: hi",
        "**[Rosey]:** hi",
        "<Rosey> hi",
        "<Rosey>: hi",
        "(Rosey): hi",
        '"Rosey": hi',
        "'Rosey': hi",
        "\u201cRosey\u201d: hi",
        "\u201eRosey\u201c: hi",
        "\u00abRosey\u00bb: hi",
        "\u3010Rosey\u3011\uff1ahi",
        "Rosey\uff1ahi",
        "### Rosey: hi",
        "\ufeff\u200bRosey: hi",
        "Assistant: hi",
        "**assistant:** hi",
    ],
)
def test_the_bots_name_in_front_is_removed_in_any_dress(text: str) -> None:
    assert content(text) == "hi"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("**Rosey: all of it is bold**", "**all of it is bold**"),
        ('"Rosey: a quote"', '"a quote"'),
        ("Rosey:", ""),
        ("**Rosey:", ""),
        ("**Rosey:**", ""),
        ("Rosey: alice: you are welcome", "alice: you are welcome"),
    ],
)
def test_marks_that_the_label_does_not_close_belong_to_the_text(text: str, shown: str) -> None:
    assert content(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "hi",
        "  hi",
        "Rosey",
        "Rosey is my name: yes",
        "Rosey - that is me",
        "Rosey, Rosey: a name twice",
        "Roseys: many",
        "[Rosey](http://localhost/) is a link",
        "[Rosey]",
        "<Rosey>hi</Rosey>",
        "* Rosey: the first of a list",
        "> Rosey: a quote",
        "``` \nRosey: code\n```",
        "Hello, Rosey: here",
        "*hi*",
        "assistants: many",
        " " * 40 + "Rosey: far too far in",
        "`",
        "``",
        "\n\n\n",
    ],
)
def test_other_text_stays_as_it_is(text: str) -> None:
    assert content(text) == text


def test_a_bot_whose_name_has_marks_is_known() -> None:
    for text in ("[Bot]: hi", "**[Bot]:** hi", "[Bot]: [Bot]: hi"):
        for size in (1, 2, 100):
            pieces = [text[start : start + size] for start in range(0, len(text), size)]
            assert fed(pieces, "[Bot]").content == "hi"
    assert fed(["Assistant: hi"], "Ass").content == "hi"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Sure.\nalice: thanks\nRosey: you're welcome", "Sure."),
        ("Sure.\n\n\nbob: thanks", "Sure."),
        ("Sure.\r\nbob: thanks", "Sure."),
        ("Sure.\nbob : thanks", "Sure."),
        ("Sure.\nbob\uff1athanks", "Sure."),
        ("Sure.\n**bob:** thanks", "Sure."),
        ("Sure.\n[bob]: thanks", "Sure."),
        ("Sure.\n<bob> thanks", "Sure."),
        ("Sure.\nZoë K.: thanks", "Sure."),
        ("Sure.\nbob:", "Sure."),
        ("Rosey: Sure.\nalice: thanks", "Sure."),
        ("alice: here you are.\nbob: and I?", "alice: here you are."),
        ("```\nbob: in code\n```\nbob: thanks", "```\nbob: in code\n```"),
        ("The scores:\nalice: 3\n\nWell done.\nbob: thanks", "The scores:\nalice: 3\n\nWell done."),
    ],
)
def test_a_line_of_another_speaker_ends_the_answer(text: str, shown: str) -> None:
    assert content(text) == shown
    assert fed([text]).finish_reason == "stop"


@pytest.mark.parametrize(
    "text",
    [
        "alice: the first line may address a speaker",
        "\n\nalice: also after empty lines",
        "Here are the scores:\nalice: 3 points\nbob: 5 points",
        "**The scores:**\n\nalice: 3 points\n\nbob: 5 points\n\nAll done.",
        "One\n- alice: 3\n* bob: 5\n1. bob: 5\n> bob: 5\n| bob: | 5 |",
        'One\n{\n"alice": 3,\n  "bob": 5\n}',
        "One\n```\nalice: 3\n```\nTwo",
        "One\n~~~yaml\nalice: 3\n```\nbob: 4\n~~~\nTwo",
        "One\n    alice: 3\n\tbob: 5",
        "One\nAlice: another letter case",
        "One\nalice and bob: both",
        "One\nalicent: no speaker",
        "One\ncarol: no speaker",
        "One\nhello alice: not in front",
        "One\nRosey: my own name",
        "One\nalice",
        "One\n",
        "One\n``",
        "One" + "\n" * 600 + "Two",
    ],
)
def test_other_lines_stay_as_they_are(text: str) -> None:
    assert content(text) == text
    assert fed([text]).finish_reason is None


def test_without_speakers_no_line_ends_the_answer() -> None:
    answer = AnswerText("", 100)
    text = "Sure.\nalice: thanks"
    assert answer.feed(text) + answer.finish() == text


def test_only_little_text_is_held_back() -> None:
    longest = max(map(len, SPEAKERS)) + 64
    answer, fed_length, shown_length = AnswerText("Rosey", 10_000, SPEAKERS), 0, 0
    for piece in ("**[<\u201c" * 100, "Hi.", "\n" * 500, "**__[" * 100, "bo" * 100, " " * 300):
        for character in piece:
            fed_length += 1
            shown_length += len(answer.feed(character))
            assert fed_length - shown_length <= max(longest, 257)


def splittings(text: str) -> list[list[str]]:
    """Return the text split in all ways."""
    found = []
    for mask in range(2 ** max(0, len(text) - 1)):
        cuts = [0, *(i + 1 for i in range(len(text) - 1) if mask >> i & 1), len(text)]
        found.append([text[start:end] for start, end in pairwise(cuts)])
    return found


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("*R:* *R: x*", "*x*"),
        ("[R] R:<R> x", "x"),
        ("R \uff1ax\nA: y", "x"),
        ("A: x\n\nA: y", "A: x"),
        ("x:\nA: y\nz", "x:\nA: y\nz"),
        ("``\n```\nA: ``", "``\n```\nA: ``"),
        ("R: R A:\n\n*", "R A:\n\n*"),
        ("x\n *A*: y", "x"),
    ],
)
def test_all_splittings_of_a_text_have_one_content(text: str, shown: str) -> None:
    for pieces in splittings(text):
        answer = AnswerText("R", 100, ("A",))
        for piece in pieces:
            answer.feed(piece)
        answer.finish()
        assert answer.content == shown, pieces


PARTS = st.sampled_from(
    [*"*_`[]<>:\"' \n\t#x-~", "```", "Rosey", "assistant", "alice", "bob", "alice:", ": ", "\n\n"]
)


@given(st.lists(PARTS, max_size=25).map("".join), st.data())
def test_any_splitting_of_any_text_has_one_content(text: str, data: st.DataObject) -> None:
    whole = fed([text])
    cuts = sorted(data.draw(st.sets(st.integers(0, len(text)), max_size=8)))
    pieces = [text[start:end] for start, end in pairwise([0, *cuts, len(text)])]
    split = fed(pieces)
    assert (split.content, split.finish_reason) == (whole.content, whole.finish_reason)
