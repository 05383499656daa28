"""Histories of a channel for property tests, and the conversation that they give."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager

from hypothesis import strategies as st

from engine.actors.conversation import Conversation
from engine.config.allowed_models import ChosenModel
from storage import history
from storage.history import PastRow, Row
from storage.migrations import migrate
from storage.row_kinds import Kind
from tests.support.channel_writes import add

WINDOWS = st.integers(1, 12)
Turn = tuple[Row, ...]


def row(kind: Kind, text: str = "", persona: str | None = None, user: str | None = "alice") -> Row:
    return Row(kind, "r1", user, text, persona)


def model_row(provider: str | None, model: str | None) -> Row:
    return Row("model", "r1", "alice", provider=provider, model=model)


TEXTS = st.sampled_from(["", "a", "b", "c", "d", "e"])
USERS = st.sampled_from(["alice", "bob", "", None])
PERSONAS = st.sampled_from(["pirate", "poet", "default", None])
MODELS = st.sampled_from([("ollama", "a"), ("openai", "b/c"), (None, None)])


@st.composite
def _two(draw: st.DrawFn, first: Kind, second: Kind) -> Turn:
    user, persona = draw(USERS), draw(PERSONAS)
    return (
        row(first, draw(TEXTS), persona, user),
        row(second, draw(TEXTS), persona, user),
    )


def _one(kind: Kind) -> st.SearchStrategy[Turn]:
    return st.builds(lambda user: (row(kind, "", None, user),), USERS)


# As the engine appends them: all rows of a turn together.
TURNS: st.SearchStrategy[Turn] = st.one_of(
    _two("message", "answer"),
    _two("message", "answer"),
    _two("message", "answer"),
    _two("message", "error"),
    _two("message", "cancelled"),
    _two("prompt", "completion"),
    _two("prompt", "error"),
    _one("error"),
    _one("reset"),
    st.builds(lambda persona: (row("persona", "", persona),), PERSONAS),
    _one("personas"),
    st.builds(lambda chosen: (model_row(*chosen),), MODELS),
    _one("models"),
    _one("help"),
    _one("stop"),
)
# As no engine would; the reader must still agree with the replay.
ROWS: st.SearchStrategy[Turn] = st.builds(
    lambda kind, text, persona, user: (row(kind, text, persona, user),),
    st.sampled_from(
        ["message", "message", "answer", "answer", "error", "reset", "persona", "model"]
    ),
    TEXTS,
    PERSONAS,
    USERS,
)
HISTORIES = st.one_of(
    st.lists(TURNS, max_size=30), st.lists(TURNS, max_size=6), st.lists(ROWS, max_size=20)
)


@contextmanager
def channels(*names: str) -> Iterator[sqlite3.Connection]:
    """Yield a database in memory with these channels, whose ids count from 1."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        migrate(connection, ":memory:")
        for name in names:
            add(name)(connection)
        yield connection


def append(connection: sqlite3.Connection, turns: Iterable[Turn], channel_id: int = 1) -> int:
    """Append turns; return the last row's id."""
    rows_of_turns = [history.TurnRows(channel_id, 0, rows) for rows in turns]
    return max(history.append(connection, rows_of_turns), default=0)


def replayed(conversation: Conversation, rows: Iterable[PastRow | Row]) -> Conversation:
    conversation.replay(rows)
    return conversation


def from_all(turns: Sequence[Turn], window: int) -> Conversation:
    """Return the conversation of the whole history."""
    return replayed(Conversation(window), [row for turn in turns for row in turn])


def state(conversation: Conversation) -> tuple[str | None, ChosenModel | None, list[object]]:
    return conversation.persona, conversation.model, list(conversation.exchanges)
