from __future__ import annotations

import orjson
import pytest

from providers.base import Message
from providers.encoded_prompt import EncodedPrompt

MESSAGES = [
    Message("system", "Be kind."),
    Message("user", 'Say "hé\n\x00"\u2028'),
    Message("assistant", "é 🌹"),
]


@pytest.fixture
def prompt() -> EncodedPrompt:
    return EncodedPrompt.of(MESSAGES)


def test_a_prompt_reads_as_the_messages_it_was_made_of(prompt: EncodedPrompt) -> None:
    assert list(prompt) == MESSAGES
    assert [len(prompt), prompt[-1], prompt[1:]] == [3, MESSAGES[2], MESSAGES[1:]]


def test_a_prompt_is_encoded_in_a_body_like_its_messages(prompt: EncodedPrompt) -> None:
    body = {"model": "m", "messages": prompt.fragment, "stream": False}
    assert orjson.dumps(body) == orjson.dumps({**body, "messages": MESSAGES})


def test_a_prompt_of_a_prompt_is_the_same_one(prompt: EncodedPrompt) -> None:
    assert EncodedPrompt.of(prompt) is prompt


def test_any_sequence_of_messages_makes_the_same_prompt(prompt: EncodedPrompt) -> None:
    assert EncodedPrompt.of(tuple(MESSAGES)).encoded == prompt.encoded
