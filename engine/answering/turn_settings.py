"""The settings that a turn uses from start to end: providers, personas, limits, channel rule."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from engine.accounting.accounts import Accounts
from engine.answering.channel_models import NO_MODELS, ChannelModels
from engine.answering.token_rates import RatesByModel
from engine.commands.records import Chat, Complete
from engine.config import allowed_models
from engine.config.allowed_models import ChosenModel
from engine.config.channel_rules import NO_RULE, ChannelRule
from engine.config.personas import Persona, Personas
from engine.config.settings import ConversationSettings, ServiceSettings, Settings
from engine.safety.room_safety import NO_SAFETY, RoomSafeties, RoomSafety
from providers.base import LLMProvider, Options
from providers.chain.chain import ProviderChain

RuleProviders = Mapping[tuple[str, ...], Sequence[LLMProvider]]
RuleChains = Mapping[tuple[str, ...], ProviderChain]


@dataclass(frozen=True, slots=True)
class TurnSettings:
    """The settings of one turn.

    A turn reads them once, at its start, and `hold`s them until it ends. A reload replaces them as
    a whole, for later turns.

    rule: the channel's; what it says is in `chain`, `personas.default`, `service` and `safety`
        already.
    models: what the channel may choose; chosen: what it has chosen, with its provider in `chain`.
    """

    chain: ProviderChain
    personas: Personas
    service: ServiceSettings
    conversation: ConversationSettings
    accounts: Accounts
    rates: RatesByModel = field(default_factory=RatesByModel)
    rule: ChannelRule = NO_RULE
    safety: RoomSafety = NO_SAFETY
    models: ChannelModels = NO_MODELS
    chosen: ChosenModel | None = None

    def hold(self) -> None:
        """Keep all providers that the turn may call open until `release`."""
        self.chain.hold()
        self.models.hold()
        self.safety.hold()

    def release(self) -> None:
        self.chain.release()
        self.models.release()
        self.safety.release()

    def with_model(self, choice: ChosenModel | None) -> TurnSettings:
        """Return the settings of a channel that has chosen a model; the same if it may not."""
        chain = None if choice is None else self.models.chain_of(choice)
        return self if chain is None else replace(self, chain=chain, chosen=choice)

    def persona_name(self, chosen: str | None) -> str:
        """Return the persona of a channel; the default if it chose none, or one that is gone."""
        return chosen if chosen and chosen in self.personas else self.personas.default

    def options(self, command: Chat | Complete, persona: Persona) -> Options:
        """Return what a call asks for: the request's settings, else the persona's or the rule's.

        A model that the channel chose goes before these two. What none of them says is the
        provider's.
        """
        chosen = self.chosen.model if self.chosen is not None else None
        temperature = command.temperature
        if temperature is None:
            temperature = persona.temperature
        if temperature is None:
            temperature = self.rule.temperature
        return Options(
            model=command.model or chosen or persona.model or self.rule.model,
            temperature=temperature,
            max_tokens=command.max_tokens or persona.max_tokens or self.rule.max_tokens,
        )


class SettingsByChannel:
    """The settings of the next turn in each channel, by the rule of the channel.

    usual: those of channels without a rule.
    """

    def __init__(
        self,
        usual: TurnSettings,
        settings: Settings,
        chains: RuleChains,
        safeties: RoomSafeties,
    ) -> None:
        self._safeties = safeties
        self._chains = {tuple(settings.provider_names): usual.chain, **chains}
        self._channels = settings.channels
        safety = safeties.of(settings.safety)
        self.usual = replace(usual, models=self._models(settings, NO_RULE), safety=safety)
        self._by_match = {
            rule.match: self._special(settings, rule) for rule in settings.channels.rules
        }

    @property
    def chains(self) -> list[ProviderChain]:
        """All chains; that of channels without a rule comes first."""
        return list(self._chains.values())

    @property
    def configured_chains(self) -> list[ProviderChain]:
        """The chains that answer where no model was chosen."""
        return [self.usual.chain, *(each.chain for each in self._by_match.values())]

    def of(self, channel_id: str) -> TurnSettings:
        """Return what the next turn of this channel uses."""
        return self._by_match.get(self._channels.rule_of(channel_id).match, self.usual)

    def _special(self, settings: Settings, rule: ChannelRule) -> TurnSettings:
        personas, service = self.usual.personas, self.usual.service
        if rule.persona is not None:
            personas = Personas(settings.personas, rule.persona)
        if rule.max_context_messages is not None:
            service = replace(service, max_context_messages=rule.max_context_messages)
        safety = self.usual.safety
        if rule.safety is not None:
            safety = self._safeties.of(settings.safety_of(rule))
        return replace(
            self.usual,
            chain=self._chains[tuple(settings.provider_names_of(rule))],
            personas=personas,
            service=service,
            rule=rule,
            safety=safety,
            models=self._models(settings, rule),
        )

    def _models(self, settings: Settings, rule: ChannelRule) -> ChannelModels:
        allowed = allowed_models.of_rule(settings, rule)
        chains = {
            provider: self._chains[allowed_models.asked(rule, provider)]
            for provider in allowed.providers
        }
        return ChannelModels(allowed, chains)


def new_rule_providers(settings: Settings, given: Iterable[LLMProvider]) -> RuleProviders:
    """Return the providers of each rule, and of each model that may be chosen; none has started.

    Only where they are others than the usual ones. given: used where a rule or a model names one.
    """
    by_name = {provider.name: provider for provider in given}
    rules = settings.channels.rules
    names = {tuple(settings.provider_names_of(rule)) for rule in rules}
    for rule in (NO_RULE, *rules):
        allowed = allowed_models.of_rule(settings, rule)
        names |= {allowed_models.asked(rule, provider) for provider in allowed.providers}
    return {
        each: [by_name.get(name) or settings.new_provider(name) for name in each]
        for each in sorted(names - {tuple(settings.provider_names)})
    }


def new_rule_chains(chain: ProviderChain, providers: RuleProviders) -> RuleChains:
    """Return a chain of each of these lists; a provider of several chains is one provider."""
    return {
        names: chain.successor(each, fallback_on=chain.fallback_on)
        for names, each in providers.items()
    }
