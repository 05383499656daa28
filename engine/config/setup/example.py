"""The commented rosey-llm.toml that we ship, with values of one's own in place of its defaults."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.items import Item, Trivia

# A wheel carries it beside this file; in a checkout it stands at the root, where people look.
PACKAGED = Path(__file__).with_name("rosey-llm.toml")
AT_THE_ROOT = Path(__file__).parents[3] / "rosey-llm.toml"


def shipped() -> str:
    """The file as it is shipped: every key with its default and a comment."""
    file = PACKAGED if PACKAGED.exists() else AT_THE_ROOT
    return file.read_text(encoding="utf-8")


class Example:
    """The file's text, and what it says as values. `put` keeps every comment."""

    def __init__(self) -> None:
        self._document = tomlkit.parse(shipped())

    def put(self, path: tuple[str, ...], value: Any) -> None:
        """Set one key of a table that is there, as in ("providers", "openai", "timeout")."""
        table: Any = self._document
        for name in path[:-1]:
            table = table[name]
        if path[-1] not in table:
            self._add_line(path, value)
        elif table[path[-1]] != value:
            table[path[-1]] = _aligned(_item(value), table[path[-1]])

    def add(self, tables: Mapping[tuple[str, ...], Mapping[str, Any]]) -> None:
        """Add tables that are not there at the end; a path is like ("personas", "pirate")."""
        added = [
            "\n".join([_header(path), *(_line(key, value) for key, value in values.items())])
            for path, values in tables.items()
        ]
        if added:
            self._document = tomlkit.parse("\n\n".join([self.text.rstrip(), *added]) + "\n")

    @property
    def values(self) -> dict[str, Any]:
        return tomllib.loads(self.text)

    @property
    def text(self) -> str:
        return tomlkit.dumps(self._document)

    def _add_line(self, path: tuple[str, ...], value: Any) -> None:
        """The new key takes the line of a comment that shows it, else it follows the others."""
        lines = self.text.split("\n")
        header = _header(path[:-1])
        start = next(n for n, line in enumerate(lines) if line.split("#")[0].strip() == header) + 1
        end = next((n for n in range(start, len(lines)) if not lines[n].strip()), len(lines))
        shown = [
            n for n in range(start, end) if re.match(rf"# {re.escape(path[-1])} += ", lines[n])
        ]
        if shown:
            lines[shown[0]] = _line(path[-1], value)
        else:
            lines.insert(end, _line(path[-1], value))
        self._document = tomlkit.parse("\n".join(lines))


def _header(path: tuple[str, ...]) -> str:
    return f"[{'.'.join(tomlkit.key(name).as_string() for name in path)}]"


def _line(key: str, value: Any) -> str:
    return f"{tomlkit.key(key).as_string()} = {_item(value).as_string()}"


def _item(value: Any) -> Item:
    if isinstance(value, Mapping):
        table = tomlkit.inline_table()
        table.update(value)
        return table
    if isinstance(value, str) and "\n" in value:
        text = tomlkit.string(value, multiline=True)
        # A carriage return would not be kept as it is.
        if tomllib.loads(f"x = {text.as_string()}")["x"] == value:
            return text
    item: Item = tomlkit.item(value)
    return item


def _aligned(new: Item, old: Item) -> Item:
    """`new` with the comment of `old`, in the same column where there is room."""
    trivia: Trivia = old.trivia
    if trivia.comment:
        room = len(old.as_string()) + len(trivia.comment_ws) - len(new.as_string())
        new.trivia.comment_ws = " " * max(1, room)
        new.trivia.comment = trivia.comment
    return new
