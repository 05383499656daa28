"""The table of all sentences that the engine itself says in a room, by key."""

from __future__ import annotations

from collections.abc import Mapping

from engine.texts import bot_sentences, message_faults, model_sentences, refusals, sentences
from engine.texts.sentence import Sentence

_ALL = [
    each
    for module in (sentences, model_sentences, refusals, bot_sentences, message_faults)
    for each in vars(module).values()
    if isinstance(each, Sentence)
]
TABLE: Mapping[str, Sentence] = {
    form.key: form for each in _ALL for form in (each, each.one) if form is not None
}
