from __future__ import annotations

import orjson
import pytest

from engine.commands.outcomes import Answer, Failure, decode
from providers.base import Usage


@pytest.mark.parametrize(
    "outcome",
    [
        Answer("#c", "r", "chat", "Hi", "alice", "default", "p", "m", "stop", Usage(1, 2), 3),
        Answer("#c", "r", "help", "..."),
        Answer("#c", "r", "chat", "One. Two.", parts=("One. ", "Two.")),
        Failure("#c", "r", "busy", "Full.", 2.0, 32),
        Failure("", "r", "invalid_request", "What?"),
    ],
)
def test_an_outcome_comes_back_from_the_outbox_as_it_was(outcome: Answer | Failure) -> None:
    assert decode(outcome.encode()) == outcome


def test_keys_without_a_value_are_left_out() -> None:
    assert orjson.loads(Failure("#c", "r", "internal", "Sorry.").encode()) == {
        "type": "llm_error",
        "channel_id": "#c",
        "error": "Sorry.",
        "code": "internal",
        "request_id": "r",
    }
