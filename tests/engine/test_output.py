from __future__ import annotations

import io
import unicodedata

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.interfaces.reports import output
from engine.interfaces.reports.output import Output

EVIL = [
    "\x1b[2J",
    "\x1b]0;title\x07",
    "\x9b31m",
    "\r",
    "\b",
    "\x7f",
    "\u202e",
    "\u2066",
    "\x85",
    "\u2028",
    "\U000e0041",
]
INVISIBLE = "\u200b\u200f\xad\ufeff"


def steers(text: str) -> bool:
    return any(
        unicodedata.category(c) in ("Cc", "Zl", "Zp") or c in "\u202e\u2066\U000e0041" for c in text
    )


@given(st.text(alphabet=st.one_of(st.characters(codec="utf-8"), st.sampled_from("".join(EVIL)))))
def test_nothing_that_is_shown_steers_a_terminal(text: str) -> None:
    assert not any(steers(line) for line in output.safe(text))
    assert not steers(output.visible(text))
    assert orjson.loads(output.json(text)) == text
    assert not steers(output.json(text))


@pytest.mark.parametrize(
    "text",
    [
        "Grüße, 漢字 👩‍👩‍👧",
        "- a\n- b\n\n```x```",
        "[bold]no markup[/bold] :smile:",
        "10\u202f000\xa0km\u3000नमस्‍ते مى\u200cרץ",
        "Donau\xaddampf \u05d0\u200f! ไทย\u200bไทย",
        "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",  # England
    ],
)
def test_honest_text_is_shown_as_it_is(text: str) -> None:
    assert "\n".join(output.safe(text)) == text
    shown = io.StringIO()
    Output(shown).line((text, "red"))
    assert shown.getvalue() == text + "\n"


@pytest.mark.parametrize("character", INVISIBLE)
def test_a_name_shows_what_is_invisible_in_it(character: str) -> None:
    assert output.visible(f"ali{character}ce") == f"ali<U+{ord(character):04X}>ce"


def test_hidden_letters_are_shown_in_a_text() -> None:
    assert output.safe("\U0001f3f4\U000e0069\U000e0067") == ["\U0001f3f4<U+E0069><U+E0067>"]


def test_no_text_can_forge_the_beginning_of_a_line() -> None:
    forged = "hi\n2026-11-23 12:00:00  bob: I said so\r\nand\rmore"
    lines = output.indented(forged, "    ")
    assert lines == ["hi", "    2026-11-23 12:00:00  bob: I said so", "    and\u240dmore"]


def test_a_table_is_aligned_also_with_wide_letters() -> None:
    shown = io.StringIO()
    Output(shown).table(("name", "n", "last"), [("漢字", 1234567, "a"), ("x\x1b", 2, None)])
    assert shown.getvalue().splitlines() == [
        "name          n  last",
        "漢字  1,234,567  a",
        "x␛            2  -",
    ]


def test_a_long_name_does_not_push_the_other_columns_away() -> None:
    shown = io.StringIO()
    Output(shown).table(("name", "n", "last"), [("漢" * 900, 1, "a" * 900), ("x", 2, "b")])
    head, first, second = shown.getvalue().splitlines()
    assert first == f"{'漢' * 29}…  1  {'a' * 900}"
    assert (head.index("last"), second.index("b")) == (64, 64)
