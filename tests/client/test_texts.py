"""Texts for a room: `split`, `plain` and `safe_line` lose nothing and keep to the limit."""

from __future__ import annotations

import re

import pytest
import wcwidth
from hypothesis import given
from hypothesis import strategies as st

from engine.client.parts import LEAST, Unit, split
from engine.client.plain_text import plain
from engine.client.safe_line import MARK, safe_line

UNITS: tuple[Unit, ...] = ("bytes", "characters")
PEOPLE = "👩‍👩‍👧‍👦"
WORDS = st.sampled_from(
    [
        "a",
        "word",
        "snake_case",
        "2 * 3",
        "x" * 50,
        "e\u0301" * 9,
        PEOPLE,
        "🇩🇪🇫🇷",
        "日本語の文章",
        "z" + "\u0301" * 90,
    ]
)
TEXTS = st.one_of(
    st.text(max_size=300), st.lists(WORDS | st.sampled_from([" ", "\n", "\r\n", "\t"])).map("".join)
)
LIMITS = st.integers(LEAST, 60)
FENCES = ("```", "~~~", "````")


def size(text: str, unit: Unit) -> int:
    return len(text) if unit == "characters" else len(text.encode())


def solid(text: str) -> str:
    """The text without white space."""
    return re.sub(r"\s", "", text)


@given(TEXTS, LIMITS, st.sampled_from(UNITS))
def test_a_split_text_loses_nothing_and_no_part_is_over_the_limit(
    text: str, limit: int, unit: Unit
) -> None:
    text = text.replace("`", "").replace("~", "")  # code has a test of its own
    parts = split(text, limit, unit)
    assert solid("".join(parts)) == solid(text)
    assert all(0 < size(part, unit) <= limit and part.strip() for part in parts)


@given(TEXTS, LIMITS, st.sampled_from(UNITS))
def test_a_part_that_must_be_one_line_is_one(text: str, limit: int, unit: Unit) -> None:
    parts = split(text, limit, unit, one_line=True)
    assert solid("".join(parts)) == solid(text)
    assert all(part.splitlines() == [part] and size(part, unit) <= limit for part in parts)


CODE = st.lists(st.sampled_from(["", "    x = 1", "y = '" + "long " * 20 + "'", "日本" * 20]))
INFO = st.sampled_from(["", "py", "python title=something-that-is-long"])
BLOCKS = st.tuples(st.sampled_from(FENCES), INFO, CODE)


@given(st.lists(WORDS | BLOCKS, max_size=6), st.integers(24, 90), st.sampled_from(UNITS))
def test_code_is_closed_in_one_part_and_opened_in_the_next(
    blocks: list[str | tuple[str, str, list[str]]], limit: int, unit: Unit
) -> None:
    pieces, code = [], []
    for block in blocks:
        if isinstance(block, str):
            pieces.append(block)
        else:
            fence, info, lines = block
            pieces += [fence + info, *lines, fence]
            code += lines
    parts = split("\n".join(pieces), limit, unit)
    assert all(size(part, unit) <= limit for part in parts)
    inside = ""
    for part in parts:
        fence = ""
        for line in part.split("\n"):
            mark = re.match(r"[`~]{3,}", line)
            if mark and (not fence or line == fence):
                fence = "" if fence else mark[0]
            elif fence:
                inside += line
        assert not fence, part
    if limit >= 80:  # below it, the info of a fence may have no room, and becomes a line of code
        assert inside == "".join(code)


@given(st.lists(WORDS, min_size=1), st.integers(400, 500))
def test_what_people_see_as_one_character_is_never_cut(words: list[str], limit: int) -> None:
    text = "".join(words)
    whole = list(wcwidth.iter_graphemes(text))
    found = [each for part in split(text, limit) for each in wcwidth.iter_graphemes(part)]
    assert [each for each in found if each.strip()] == [each for each in whole if each.strip()]


def test_breaks_are_between_lines_then_between_words() -> None:
    assert split("one two three\nfour five six", 20) == ["one two three", "four five six"]
    assert split("one two three four five six", 16) == ["one two three", "four five six"]
    assert split("it fits", 16) == ["it fits"]
    assert split(" \n\n ", 16) == []
    text = "```py\n" + "x = 1\n" * 4 + "```\nThe end of it."
    assert split(text, 24) == [
        "```py\nx = 1\nx = 1\n```",
        "```py\nx = 1\nx = 1\n```",
        "The end of it.",
    ]


def test_a_wrong_limit_or_unit_is_refused() -> None:
    with pytest.raises(ValueError, match="limit: expected 16 or more, got 15"):
        split("text", 15)
    with pytest.raises(ValueError, match=r'unit: expected "bytes" or "characters", got \'lines\''):
        split("text", 100, "lines")  # type: ignore[arg-type]


@given(st.text(), st.text("/!.#", max_size=4))
def test_a_safe_line_is_one_line_and_begins_with_no_command(text: str, first: str) -> None:
    line = safe_line(text, first)
    assert line.splitlines() in ([], [line])
    assert not line or line[0] not in first
    assert not line or not line[0].isspace()
    assert len(line) <= len(text) + len(MARK)
    kept = [each for each in text if each.isalnum()]
    assert [each for each in line if each.isalnum()] == kept


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("Hello\nthere", "Hello there"),
        ("/quit", "> /quit"),
        (" \u200b\x02!chat reset", "> !chat reset"),
        ("1/2", "1/2"),
        ("\n", ""),
    ],
)
def test_a_safe_line_marks_only_what_looks_like_a_command(text: str, line: str) -> None:
    assert safe_line(text) == line


def test_a_mark_that_is_itself_a_command_is_refused() -> None:
    with pytest.raises(ValueError, match='other than ">"'):
        safe_line("text", ">")


FORMS = ["{}", "**{}**", "*{}*", "`{}`", "~~{}~~", "[{}](http://A.EXAMPLE)", "[{}]:B"]
FORMS += ["# {}\n", "- {}\n", "1. {}\n", "> {}\n", "\n```\n{}\n```\n", "    {}\n", "{}\n\n"]
FORMS += ["| {} |\n|---|\n"]
MARKED = st.tuples(st.sampled_from(FORMS), st.text("abcdefgh", min_size=1, max_size=8))


@given(st.lists(MARKED))
def test_no_word_of_a_markdown_text_is_lost_and_their_order_stays(
    marked: list[tuple[str, str]],
) -> None:
    words = iter(re.findall(r"[a-z]+", plain(" ".join(form.format(word) for form, word in marked))))
    for _, word in marked:
        assert word in words, word  # `in` goes on where the one before was found


@given(st.text("*_`~#>-+1. \n\tab[]()|!\\<&", max_size=80))
def test_any_text_can_be_made_plain(text: str) -> None:
    if "`" not in text and "~" not in text:  # the word behind the fence of a block is its language
        assert plain(text).count("a") >= text.count("a")
    plain(text)


MARKDOWN = """\
# Title *x*

Some **bold** `code`, [a link](http://a.example) and snake_case: 2 * 3
- one
- two
  - inner

> quoted

1. first

   more
2. second

```python
def f():

    return 1
```
| a | b |
|---|---|
"""
PLAIN = """\
Title x

Some bold code, a link (http://a.example) and snake_case: 2 * 3

- one
- two
  - inner

> quoted

1. first

   more

2. second

def f():

    return 1

| a | b |
|---|---|"""


def test_markdown_becomes_a_text_that_reads_well() -> None:
    assert plain(MARKDOWN) == PLAIN
