"""What comes in for the requests of a client, in any order: their pieces and outcomes."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.client.open_request import OpenRequest
from engine.client.open_requests import OpenRequests
from engine.client.subjects import Subjects
from engine.errors import LLMError

SUBJECTS = Subjects()
PIECES = ["One ", "two ", "three"]
CONTENT = "One two three"


class Wire:
    """One request, and what an engine may publish for it."""

    def __init__(self, request_id: str = "mine") -> None:
        self.requests = OpenRequests(SUBJECTS)
        self.request: OpenRequest = self.requests.open("llm.request", "#a", {}, request_id)
        self.given = ""
        self.restarts = 0

    def delta(self, index: int, text: str, **more: Any) -> None:
        self._hear(SUBJECTS.stream, "llm_delta", index=index, delta=text, **more)
        self.read()

    def response(self, content: str = CONTENT, **more: Any) -> None:
        self._hear(SUBJECTS.response, "llm_response", content=content, action="chat", **more)
        self.read()

    def error(self, code: str, **more: Any) -> None:
        self._hear(SUBJECTS.error, "llm_error", code=code, error="It failed.", **more)

    def read(self) -> None:
        """Read as a bot does: if the answer has begun again, so does what it has."""
        piece = self.request.take()
        begun = self.given if self.request.restarts == self.restarts else ""
        self.given = begun + piece
        self.restarts = self.request.restarts

    def _hear(self, subject: str, kind: str, **fields: Any) -> None:
        key = {"channel_id": "#a", "request_id": self.request.key[1]}
        self.requests.heard(subject, orjson.dumps({"type": kind, **key, **fields}))


@given(st.permutations(range(4)))
async def test_pieces_and_outcome_in_any_order_give_the_content_once(order: list[int]) -> None:
    wire = Wire()
    for at in order:
        if at == 3:
            wire.response()
        else:
            wire.delta(at, PIECES[at])
    assert wire.given == CONTENT == wire.request.text
    assert wire.restarts == 0


async def test_an_answer_that_begins_again_is_read_again() -> None:
    wire = Wire()
    for index, piece in enumerate(PIECES[:2]):
        wire.delta(index, piece)
    wire.delta(0, "Another ")
    assert (wire.given, wire.restarts) == ("Another ", 1)
    wire.delta(1, "one")
    wire.response("Another one")
    assert (wire.given, wire.restarts) == ("Another one", 1)


async def test_after_a_gap_the_outcome_has_the_rest() -> None:
    wire = Wire()
    wire.delta(0, PIECES[0])
    wire.delta(2, PIECES[2])
    assert wire.given == PIECES[0]
    wire.response()
    assert (wire.given, wire.restarts) == (CONTENT, 0)


async def test_a_delta_that_is_done_and_fields_that_are_new_change_nothing() -> None:
    wire = Wire()
    for index, piece in enumerate(PIECES):
        wire.delta(index, piece, action="chat", username="alice")
    wire.delta(3, "", done=True)
    wire.response(news={"a": 1})
    assert (wire.given, wire.restarts) == (CONTENT, 0)


async def test_busy_for_a_copy_is_no_outcome_but_it_is_one_for_the_first() -> None:
    wire = Wire()
    wire.request.begin_copy()
    wire.request.begin_copy()
    wire.error("busy", retry_after_s=3.0)
    assert wire.request.refusal is not None
    assert not wire.request.outcome.done()
    wire.response()
    assert wire.request.outcome.result().content == CONTENT
    first = Wire()
    first.request.begin_copy()
    first.error("busy", retry_after_s=3.0, ahead=7, username="alice")
    with pytest.raises(LLMError, match="It failed"):
        first.request.outcome.result()


@given(
    st.binary() | st.recursive(st.none() | st.booleans() | st.text(), st.lists).map(orjson.dumps)
)
async def test_no_message_of_a_stranger_breaks_a_client(data: bytes) -> None:
    wire = Wire(request_id='a "quoted" id')
    stream = wire.requests.stream()
    for subject in SUBJECTS:
        wire.requests.heard(subject, data)
    wire.requests.replied("1", data)
    assert not wire.request.outcome.done()
    wire.response()
    assert wire.request.outcome.result() == await anext(stream)
