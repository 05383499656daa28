"""A sentence of the engine with its placeholders, and the same sentence with their values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from functools import cached_property
from string import Formatter
from typing import NamedTuple, TypeAlias

Plain = str | int | float
Value: TypeAlias = "Plain | Said"


class Template:
    """A text with placeholders such as `{name}`; `{{` and `}}` stand for braces.

    Raises ValueError with what is wrong with the text.
    """

    __slots__ = ("_pieces",)

    def __init__(self, text: str) -> None:
        self._pieces = tuple(_pieces(text))

    @property
    def placeholders(self) -> tuple[str, ...]:
        """The names of its placeholders, in their order."""
        return tuple(dict.fromkeys(name for _, name in self._pieces if name))

    def filled(self, values: Mapping[str, Plain]) -> str:
        """Return the text with values in place of its placeholders; they are taken as they are."""
        return "".join(
            before + (_shown(values[name]) if name else "") for before, name in self._pieces
        )


@dataclass(frozen=True)
class Sentence:
    """A sentence of the table; a call with the values of its placeholders makes it `Said`.

    A value may be a sentence itself: a phrase that other sentences have in common.

    key: its key below `[texts]`.
    english: what is said if nothing replaces it.
    when: when it is said.
    may: placeholders that another text may have, or may leave out; it must have all others.
    one: the sentence in its place if `{number}` is 1.
    """

    key: str
    english: str
    when: str
    may: tuple[str, ...] = ()
    one: Sentence | None = None

    @cached_property
    def template(self) -> Template:
        return Template(self.english)

    @cached_property
    def needed(self) -> tuple[str, ...]:
        """The placeholders that each text must have, in the order of the English one."""
        return tuple(name for name in self.template.placeholders if name not in self.may)

    @cached_property
    def known(self) -> Set[str]:
        """All placeholders that a text may have."""
        return {*self.needed, *self.may}

    def __call__(self, **values: Value) -> Said:
        if values.keys() != self.known:
            raise TypeError(f"{self.key}: expected {sorted(self.known)}, got {[*values]}")
        return Said(self, values)


class Said(NamedTuple):
    """A sentence with the values of its placeholders. As a string, it is English."""

    sentence: Sentence
    values: Mapping[str, Value]

    def __str__(self) -> str:
        return self.worded({})

    def worded(self, templates: Mapping[str, Template]) -> str:
        """Return it with these templates by key, in English if there is none."""
        values = {
            name: value.worded(templates) if isinstance(value, Said) else value
            for name, value in self.values.items()
        }
        return templates.get(self.form.key, self.form.template).filled(values)

    @property
    def form(self) -> Sentence:
        """The sentence, or its form for one."""
        one = self.sentence.one
        return one if one is not None and self.values["number"] == 1 else self.sentence


def _pieces(text: str) -> Iterator[tuple[str, str]]:
    """Yield texts, each with the name of the placeholder behind it; "" for none."""
    try:
        for before, name, spec, conversion in Formatter().parse(text):
            if name is not None and (not name.isidentifier() or spec or conversion):
                raise ValueError
            yield before, name or ""
    except ValueError:
        raise ValueError(
            "expected placeholders such as {name}; write {{ and }} for other braces"
        ) from None


def _shown(value: Plain) -> str:
    """Return a value as it is written; of a whole number without a point."""
    return (
        f"{value:.0f}"
        if isinstance(value, float) and value.is_integer()
        else (f"{value:g}" if isinstance(value, float) else str(value))
    )
