"""The shipped rosey-llm.toml with its comments, and a copy in which values can be changed."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.items import Item, Table, Trivia

# In a wheel the file is beside this one; in a checkout it is at the root.
PACKAGED = Path(__file__).with_name("rosey-llm.toml")
IN_CHECKOUT = Path(__file__).parents[3] / "rosey-llm.toml"


def shipped() -> str:
    """Return the shipped file's text: every key with its default and a comment."""
    file = PACKAGED if PACKAGED.exists() else IN_CHECKOUT
    return file.read_text(encoding="utf-8")


class Example:
    """A copy of the shipped file with other values. Every comment is kept."""

    def __init__(self) -> None:
        self._document = tomlkit.parse(shipped())

    def put(self, path: tuple[str, ...], value: Any) -> None:
        """Set one key of an existing table, such as ("providers", "openai", "timeout")."""
        table: Any = self._document
        for name in path[:-1]:
            table = table[name]
        if path[-1] not in table:
            self._add_line(path, value)
        elif table[path[-1]] != value:
            container = table.value if isinstance(table, Table) else table
            old: Any = container.item(path[-1])  # `table[...]` has no comment of true and false
            table[path[-1]] = _aligned(_item(value), old)

    def add(self, tables: Mapping[tuple[str, ...], Mapping[str, Any]]) -> None:
        """Append new tables, such as ("personas", "pirate")."""
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
        """Replace the comment line that shows the key, or add the key after the table's others."""
        lines = self.text.split("\n")
        header = _header(path[:-1])
        start = next(n for n, line in enumerate(lines) if line.split("#")[0].strip() == header) + 1
        end = next((n for n in range(start, len(lines)) if not lines[n].strip()), len(lines))
        shown = [
            n for n in range(start, end) if re.match(rf"# {re.escape(path[-1])} += ", lines[n])
        ]
        if shown:
            _, sign, comment = lines[shown[0]].removeprefix("# ").partition(" # ")
            lines[shown[0]] = _line(path[-1], value) + f"  {sign.strip()} {comment}" * bool(sign)
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
        # A multi-line string would not keep a carriage return.
        if tomllib.loads(f"x = {text.as_string()}")["x"] == value:
            return text
    item: Item = tomlkit.item(value)
    return item


def _aligned(new: Item, old: Item) -> Item:
    """Return `new` with the comment of `old`, in the same column if there is room."""
    trivia: Trivia = old.trivia
    if trivia.comment:
        room = len(old.as_string()) + len(trivia.comment_ws) - len(new.as_string())
        new.trivia.comment_ws = " " * max(1, room)
        new.trivia.comment = trivia.comment
    return new
