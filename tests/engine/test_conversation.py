from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.actors.conversation import Conversation, Exchange
from engine.config.allowed_models import ChosenModel
from storage.history import PastRow
from storage.row_kinds import Kind

TEXTS = st.text(st.one_of(st.characters(codec="utf-8"), st.sampled_from('\n\r\t\0",\\[]\u2028')))
EXCHANGES = st.lists(st.builds(Exchange, TEXTS, TEXTS, TEXTS), max_size=8)


def past(*rows: tuple[Kind, str | None, str, str | None]) -> list[PastRow]:
    return [PastRow(number, *row) for number, row in enumerate(rows)]


def test_the_window_holds_whole_exchanges_and_the_newest_ones() -> None:
    conversation = Conversation(window=5)
    for number in range(4):
        conversation.answered("alice", f"q{number}", f"a{number}")
    assert [e.message for e in conversation.exchanges] == ["q2", "q3"]
    assert conversation.messages == 4


def test_a_reset_clears_messages_and_keeps_the_persona() -> None:
    conversation = Conversation(10, persona="concise")
    conversation.answered("alice", "q", "a")
    conversation.reset()
    assert (conversation.messages, conversation.persona) == (0, "concise")


def test_a_message_counts_only_if_the_next_row_is_its_answer() -> None:
    conversation = Conversation(10)
    conversation.replay(
        past(
            ("message", "alice", "failed", None),
            ("error", None, "it did", None),
            ("prompt", "bob", "raw", None),
            ("completion", None, "text", None),
            ("message", "bob", "stopped", None),
            ("cancelled", None, "half", None),
            ("answer", None, "an answer without its message", None),
            ("message", None, "good", None),
            ("answer", None, "fine", None),
            ("personas", "bob", "", None),
            ("stop", "bob", "", None),
        )
    )
    assert conversation.exchanges == [Exchange("User", "good", "fine")]


def test_replay_takes_resets_and_persona_switches_in_their_order() -> None:
    conversation = Conversation(10)
    conversation.replay(
        past(
            ("persona", None, "", "concise"),
            ("message", "alice", "before", None),
            ("answer", None, "a", None),
            ("reset", None, "", None),
            ("message", "alice", "after", None),
            ("answer", None, "b", None),
            ("persona", None, "", "creative"),
        )
    )
    assert conversation.persona == "creative"
    assert [e.message for e in conversation.exchanges] == ["after"]


def switched(provider: str | None, model: str | None) -> PastRow:
    return PastRow(1, "model", "alice", "", None, provider, model)


def test_replay_takes_the_newest_model_which_a_reset_keeps() -> None:
    conversation = Conversation(10)
    conversation.replay([switched("ollama", "a"), switched("openai", "b")])
    conversation.replay(past(("reset", None, "", None), ("models", "bob", "", None)))
    assert conversation.model == ChosenModel("openai", "b")
    conversation.replay([switched(None, None)])
    assert conversation.model is None


@given(said=EXCHANGES, window=st.integers(0, 12))
def test_any_text_comes_back_as_it_was(said: list[Exchange], window: int) -> None:
    conversation = Conversation(window)
    for each in said:
        conversation.answered(each.username, each.message, each.answer)
    kept = said[-(window // 2) :] if window // 2 else []
    assert conversation.exchanges == kept
    assert conversation.encoded == [each.encoded for each in kept]
    assert conversation.messages == 2 * len(kept)


NAMES = TEXTS.filter(bool)
MODELS = st.one_of(st.none(), st.builds(ChosenModel, NAMES, NAMES))


@given(said=EXCHANGES, persona=st.one_of(st.none(), TEXTS), model=MODELS)
def test_a_snapshot_gives_the_same_state(
    said: list[Exchange], persona: str | None, model: ChosenModel | None
) -> None:
    conversation = Conversation(10, persona, model=model)
    for each in said:
        conversation.answered(each.username, each.message, each.answer)
    assert Conversation.decode(conversation.encode(), 10) == conversation


def test_a_snapshot_is_readable_json() -> None:
    conversation = Conversation(10, persona="technical")
    conversation.answered("älice", 'a "q"', "a\nb")
    assert orjson.loads(conversation.encode()) == {
        "window": 10,
        "persona": "technical",
        "exchanges": [["älice", 'a "q"', "a\nb"]],
    }
    conversation.model = ChosenModel("ollama", "llama3.2")
    assert orjson.loads(conversation.encode())["model"] == ["ollama", "llama3.2"]


def test_a_snapshot_of_a_version_without_models_has_none() -> None:
    body = b'{"window":10,"persona":"concise","exchanges":[["alice","Hello","Hi."]]}'
    assert Conversation.decode(body, 10).model is None
    assert Conversation.decode(body, 10).encode() == body


def test_a_snapshot_taken_with_a_larger_window_is_cut_to_the_newest() -> None:
    conversation = Conversation(10)
    for number in range(5):
        conversation.answered("alice", f"q{number}", "a")
    smaller = Conversation.decode(conversation.encode(), 4)
    assert [e.message for e in smaller.exchanges] == ["q3", "q4"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b'{"persona": null, "exchanges": [["x"]]}',
        b'{"persona": null, "exchanges": [["x", 1, "y"]]}',
        b'{"persona": null, "model": ["x"], "exchanges": []}',
        b'{"persona": null, "model": ["x", 1], "exchanges": []}',
        b'{"persona": null, "model": 7, "exchanges": []}',
        b"\xff",
    ],
)
def test_a_damaged_snapshot_is_a_value_error(body: bytes) -> None:
    with pytest.raises(ValueError, match="damaged"):
        Conversation.decode(body, 10)


def test_a_snapshot_taken_with_a_smaller_window_lacks_messages_and_is_refused() -> None:
    with pytest.raises(ValueError, match="smaller window"):
        Conversation.decode(Conversation(4).encode(), 10)
