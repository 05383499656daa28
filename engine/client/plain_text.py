"""`plain`: Markdown as a text for rooms that show its marks."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from markdown_it import MarkdownIt
from markdown_it.token import Token

_BREAKS = {"softbreak": "\n", "hardbreak": "\n"}


def plain(text: str) -> str:
    """Return Markdown without its marks.

    Headings, emphasis and the fences of code lose their marks, a link is "text (address)", and
    lists and quotations keep "- ", "1. " and "> ". Tables and HTML stay as they are. No word is
    lost but the language of a block of code.
    """
    return _Writer(_parser().parse(text)).text()


@cache
def _parser() -> MarkdownIt:
    # Definitions of links ("[name]: address") would vanish, and an answer hardly ever has any.
    parser = MarkdownIt("commonmark", {"html": False}).enable("strikethrough")
    return parser.disable("reference")


class _Writer:
    """A writer of lines.

    - `_prefixes`: what each line of the open lists and quotations begins with
    - `_marks`: the same for the next line, which may be the first one of an item
    - `_tight`: whether the open lists have no empty lines between their items
    - `_is_first`: nothing was written since the innermost of them was opened
    """

    def __init__(self, tokens: Sequence[Token]) -> None:
        self._tokens = tokens
        self._lines: list[str] = []
        self._prefixes: list[str] = []
        self._marks: list[str] = []
        self._tight = [False]
        self._is_first = True

    def text(self) -> str:
        for at, token in enumerate(self._tokens):
            self._take(at, token)
        return "\n".join(self._lines).strip("\n")

    def _take(self, at: int, token: Token) -> None:
        match token.type:
            case "inline":
                self._write(_inline(token))
            case "fence" | "code_block":
                self._begin_block()
                self._write(token.content.removesuffix("\n"))
            case "hr":
                self._begin_block()
                self._write("---")
            case "paragraph_open" | "heading_open":
                self._begin_block()
            case "blockquote_open":
                self._begin_block()
                self._open("> ", "> ")
            case "list_item_open":
                self._begin_block()
                mark = f"{token.info}{token.markup} " if token.info else "- "
                self._open(mark, " " * len(mark))
            case "blockquote_close" | "list_item_close":
                self._close()
            case "bullet_list_open" | "ordered_list_open":
                self._begin_block()
                self._tight.append(self._is_tight(at))
                self._is_first = True
            case "bullet_list_close" | "ordered_list_close":
                self._tight.pop()

    def _is_tight(self, at: int) -> bool:
        """Return whether the list that begins at this token has no empty lines."""
        inner = self._tokens[at].level + 2
        for token in self._tokens[at + 1 :]:
            if token.level == inner and token.type == "paragraph_open":
                return token.hidden
            if token.level < inner - 1:
                break
        return True

    def _open(self, mark: str, prefix: str) -> None:
        self._marks.append(mark)
        self._prefixes.append(prefix)
        self._is_first = True

    def _close(self) -> None:
        if self._is_first:  # it is empty
            self._write("")
        self._prefixes.pop()
        self._marks.pop()

    def _begin_block(self) -> None:
        """Leave an empty line between blocks."""
        if not self._is_first and not self._tight[-1]:
            self._lines.append("".join(self._prefixes).rstrip())

    def _write(self, text: str) -> None:
        for line in text.split("\n"):
            self._lines.append("".join(self._marks) + line)
            self._marks = list(self._prefixes)
        self._is_first = False


def _inline(token: Token) -> str:
    text = ""
    opened: list[tuple[int, str]] = []  # where each open link began, and its address
    for each in token.children or ():
        match each.type:
            case "link_open":
                opened.append((len(text), str(each.attrs.get("href", ""))))
            case "link_close":
                start, address = opened.pop()
                text += _address(text[start:], address)
            case "image":
                label = _inline(each)
                text += label + _address(label, str(each.attrs.get("src", "")))
            case _:
                text += _BREAKS.get(each.type, each.content)
    return text


def _address(label: str, address: str) -> str:
    return "" if address in ("", label, f"mailto:{label}") else f" ({address})"
