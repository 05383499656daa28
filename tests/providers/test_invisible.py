from __future__ import annotations

import unicodedata

import pytest

from providers.invisible import is_blank, without_invisible

INVISIBLE = [
    "",
    " \t\n\r\u00a0\u3000\u2028",
    "\u200b\u200c\u200d\u2060\ufeff",
    "\u202a\u202e\u2066\u2069\u200e\u200f\u061c",
    "\x00\x01\x1b\x7f\x80\x9b",
    "\u3164\u115f\u1160\uffa0",
    "\u2800",
    "\ufe0f\ufe0e\U000e0100\u180b\u034f",
    "\U000e0041\U000e007f\u00ad\ufff9\ufffb",
]


@pytest.mark.parametrize("text", INVISIBLE)
def test_what_shows_nothing_is_blank(text: str) -> None:
    assert is_blank(text)
    assert is_blank(text * 1000)
    assert not is_blank(f"{text}.{text}")
    assert without_invisible(f"{text}.{text}").strip() == "."


@pytest.mark.parametrize(
    "text", ["a", "0", "é", "漢", "😀", "👨‍👩‍👧", "❤️", "\u0301", "\ufffd", "\ue000", "\u0600"]
)
def test_what_shows_something_is_not_blank(text: str) -> None:
    assert not is_blank(text)
    assert not is_blank(f" \u200b{text}\u200b")


def test_white_space_stays() -> None:
    assert without_invisible(" a\tb\n\u200bc\u3000\x85") == " a\tb\nc\u3000\x85"


def test_every_control_and_every_format_character_without_a_shape_is_invisible() -> None:
    # Format characters that have a shape stand for a number or a sign in their script.
    shaped = {"ARABIC", "SYRIAC", "KAITHI", "EGYPTIAN"}
    for code in (*range(0x30000), *range(0xE0000, 0xE1000)):
        char = chr(code)
        category = unicodedata.category(char)
        is_format = category == "Cf" and unicodedata.name(char, "").split(" ")[0] not in shaped
        if category == "Cc" or is_format:
            assert is_blank(char), f"U+{code:04X}"
        if category in ("Lu", "Ll", "Nd", "Nl", "No", "Pd", "Po", "Sm", "Sc"):
            assert not is_blank(char), f"U+{code:04X}"
