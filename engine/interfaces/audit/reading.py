"""Helpers of the audit pages: query the database with a time limit, read request arguments."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from datasette.app import Datasette
from datasette.utils.asgi import BadRequest, Request

from storage.queries.reader import Reader
from storage.queries.time_limit import time_limit

T = TypeVar("T")
DATABASE = "rosey-llm"
LIMIT_S = 4.0
LARGEST = 2**63 - 2
LONGEST = 400


async def ask(datasette: Datasette, question: Callable[[Reader], T]) -> T:
    """Run `question` in a thread with its own connection. Raises TookTooLong after LIMIT_S."""

    def within(connection: Reader) -> T:
        with time_limit(connection, LIMIT_S):
            return question(connection)

    answer: T = await datasette.get_database(DATABASE).execute_fn(within)
    return answer


def number(request: Request, name: str) -> int | None:
    """Return the row id in this argument, or None. Raises BadRequest if it is not a number."""
    text = request.args.get(name)
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and int(text[:20]) <= LARGEST):
        raise BadRequest(f"{name} must be the number of a row")
    return int(text)


def words(request: Request, name: str) -> str:
    """Return the text in this argument, or ""."""
    return str(request.args.get(name) or "").strip()[:LONGEST]
