"""The models that a channel may be switched to: those of `[models] allow` that its rule permits."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from engine.config import globs
from engine.config.channel_rules import ChannelRule
from engine.config.settings import Settings
from engine.errors import NotAllowed
from engine.texts import model_sentences
from providers.validation import ValidationError, shown

DEFAULT = "default"
"""The word that switches back to the configured model."""
SHOWN = 80
# A name is kept in the history, and cannot be erased: so it is one short word.
WORD = re.compile(r"[!-~]{1,128}")


class ChosenModel(NamedTuple):
    """A model of a provider; as a string, "provider/model"."""

    provider: str
    model: str

    def __str__(self) -> str:
        return f"{self.provider}/{self.model}"


class AllowedModels:
    """The models that may be chosen in a channel.

    patterns: "provider/model", where the model may have wildcards; providers: those in them.
    usual: the provider of the channel; a name without a provider is one of its models.
    named: providers of other channels' models: a name that begins with one of them means it.
    """

    def __init__(self, patterns: Sequence[str], usual: str, named: Iterable[str] = ()) -> None:
        self.patterns = list(dict.fromkeys(patterns))
        self.providers = list(dict.fromkeys(map(provider_of, self.patterns)))
        self._named = frozenset([*self.providers, *named])
        self._usual = usual
        self._exact = frozenset(filter(globs.is_exact, self.patterns))

    def __contains__(self, choice: ChosenModel) -> bool:
        if choice.provider not in self.providers:
            return False
        name = str(choice)
        return name in self._exact or any(globs.matches(each, name) for each in self.patterns)

    def find(self, name: str) -> ChosenModel:
        """Return the model that a room means by a name. Raises NotAllowed with what it may be."""
        said = name[:SHOWN]
        if not self.patterns:
            raise NotAllowed(model_sentences.MODEL_FIXED(name=said))
        if not globs.is_exact(name):
            raise NotAllowed(model_sentences.MODEL_PATTERN(name=said))
        found = self._meant(name) if WORD.fullmatch(name) else []
        if not found:
            names = ", ".join(self.patterns)
            raise NotAllowed(model_sentences.MODEL_NOT_LISTED(name=said, names=names))
        if len(found) > 1:
            names = ", ".join(map(str, found))
            raise NotAllowed(model_sentences.MODEL_AMBIGUOUS(name=said, names=names))
        return found[0]

    def _meant(self, name: str) -> list[ChosenModel]:
        """Return what the name can mean: one model if it says the provider, or is clear."""
        provider, _, model = name.partition("/")
        if model and provider in self._named:
            written = ChosenModel(provider, model)
            return [written] if written in self else []
        here = ChosenModel(self._usual, name)
        if here not in self:
            return []
        if str(here) in self._exact:
            return [here]
        elsewhere = (ChosenModel(each, name) for each in self.providers if each != self._usual)
        return [here, *(each for each in elsewhere if str(each) in self._exact)]


def of_rule(settings: Settings, rule: ChannelRule) -> AllowedModels:
    """Return what may be chosen in the channels of a rule: nothing that leaves its `stays`."""
    patterns: Sequence[str] = settings.models.allow
    for stays in (settings.channels.stays or None, rule.stays):
        if stays is not None:
            patterns = [each for each in patterns if provider_of(each) in stays]
    named = map(provider_of, settings.models.allow)
    return AllowedModels(patterns, settings.provider_names_of(rule)[0], named)


def asked(rule: ChannelRule, choice: str) -> tuple[str, ...]:
    """Return the providers that are asked for a model of the provider `choice`, in their order.

    As in a rule with a provider, nobody else is asked unless the rule names it.
    """
    return tuple(dict.fromkeys([choice, *(rule.fallback_providers or ())]))


def provider_of(pattern: str) -> str:
    return pattern.partition("/")[0]


def check(settings: Settings) -> None:
    """Raise ValidationError if a pattern can match no model, or none that text may be sent to."""
    stays = settings.channels.stays
    for index, pattern in enumerate(settings.models.allow):
        path = f"models.allow[{index}]"
        provider, _, model = pattern.partition("/")
        if not model or not WORD.fullmatch(pattern) or not globs.is_exact(provider):
            expected = 'expected a provider and a model, such as "ollama/*" or "openai/gpt-4o-mini"'
            raise ValidationError(path, f"{expected}, got {shown(pattern)}")
        if stays and provider not in stays:
            problem = f'"{provider}" is not in channels.stays, so no channel may use it'
            raise ValidationError(path, problem)
