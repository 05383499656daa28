"""The kinds of history rows, in one table: what each is, how it is shown, and whether it matters.

A new kind is added here and in the table at the top of `storage/history.py`; the reports, the audit
page and the turn log follow this one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple, cast

Kind = Literal[
    "message",
    "answer",
    "prompt",
    "completion",
    "error",
    "cancelled",
    "reset",
    "persona",
    "personas",
    "model",
    "models",
    "usage",
    "help",
    "stop",
    "erased",
]
Style = Literal["asked", "answer", "error", "cancelled", "notice"]


class RowKind(NamedTuple):
    """How one kind of row is shown and used.

    style: who speaks in it: a user, the model, the engine; a notice says what a user did.
    label: of a notice, what the user did; {persona} or {model} stands for that of the row.
    unnamed: the same of a row without that name.
    in_window: whether the conversation that the model is shown depends on it.
    event: the name of its turn's event in the log, if it is not the usual one.
    is_quiet: whether its turn is logged at debug level, since it changes and costs nothing.
    """

    style: Style
    label: str = ""
    unnamed: str = ""
    in_window: bool = False
    event: str = ""
    is_quiet: bool = False


KINDS: Mapping[Kind, RowKind] = {
    "message": RowKind("asked", in_window=True),
    "answer": RowKind("answer", in_window=True),
    "prompt": RowKind("asked"),
    "completion": RowKind("answer"),
    "error": RowKind("error"),
    "cancelled": RowKind("cancelled"),
    "reset": RowKind("notice", "reset the conversation", in_window=True, event="channel.reset"),
    "persona": RowKind(
        "notice", "switched the persona to {persona}", in_window=True, event="channel.persona"
    ),
    "personas": RowKind("notice", "listed the personas", is_quiet=True),
    "model": RowKind(
        "notice",
        "switched the model to {model}",
        "switched back to the configured model",
        in_window=True,
        event="channel.model",
    ),
    "models": RowKind("notice", "looked at the model", is_quiet=True),
    "usage": RowKind("notice", "asked what was used", is_quiet=True),
    "help": RowKind("notice", "asked for help", is_quiet=True),
    "stop": RowKind("notice", "stopped the answer"),
    "erased": RowKind("notice", "erased earlier rows", is_quiet=True),
}


def row_kind(kind: str) -> RowKind:
    """Return a kind's entry; one that only a newer version knows is a notice with its name."""
    return KINDS.get(cast(Kind, kind)) or RowKind("notice", f"({kind})")


def label_parts(kind: str, persona: str | None, model: str | None) -> tuple[str, str | None, str]:
    """Return what a user did in a row of a notice: a text, the name in it, and the text behind it.

    model: with its provider. The name is None if there is none in the text.
    """
    found = row_kind(kind)
    for placeholder, name in (("{persona}", persona), ("{model}", model)):
        before, there, after = found.label.partition(placeholder)
        if there and not name and found.unnamed:
            return found.unnamed, None, ""
        if there:
            return before, name or "", after
    return found.label, None, ""


def label(kind: str, persona: str | None, model: str | None, show: Callable[[str], str]) -> str:
    """Return what a user did in a row of a notice, with its name as `show` shows it."""
    before, name, after = label_parts(kind, persona, model)
    return before + (show(name) if name is not None else "") + after
