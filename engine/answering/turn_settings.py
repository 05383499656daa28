"""The settings that a turn uses from start to end: providers, personas, limits, channel rule."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from engine.accounting.accounts import Accounts
from engine.answering.token_rates import RatesByModel
from engine.commands.records import Chat, Complete
from engine.config.channel_rules import NO_RULE, ChannelRule
from engine.config.personas import Persona, Personas
from engine.config.settings import ConversationSettings, ServiceSettings, Settings
from providers.base import LLMProvider, Options
from providers.chain.chain import ProviderChain

RuleProviders = Mapping[tuple[str, ...], Sequence[LLMProvider]]
RuleChains = Mapping[tuple[str, ...], ProviderChain]


@dataclass(frozen=True, slots=True)
class TurnSettings:
    """The settings of one turn.

    A turn reads them once, at its start, and `hold`s the chain until it ends. A reload replaces
    them as a whole, for later turns.

    rule: the channel's; what it says is in `chain`, `personas.default` and `service` already.
    """

    chain: ProviderChain
    personas: Personas
    service: ServiceSettings
    conversation: ConversationSettings
    accounts: Accounts
    rates: RatesByModel = field(default_factory=RatesByModel)
    rule: ChannelRule = NO_RULE

    def options(self, command: Chat | Complete, persona: Persona) -> Options:
        """Return what a call asks for: the request's settings, else the persona's or the rule's.

        What none of them says is the provider's.
        """
        temperatures = (command.temperature, persona.temperature, self.rule.temperature)
        return Options(
            model=command.model or persona.model or self.rule.model,
            temperature=next((each for each in temperatures if each is not None), None),
            max_tokens=command.max_tokens or persona.max_tokens or self.rule.max_tokens,
        )


class SettingsByChannel:
    """The settings of the next turn in each channel, by the rule of the channel.

    usual: those of channels without a rule.
    """

    def __init__(self, usual: TurnSettings, settings: Settings, chains: RuleChains) -> None:
        self.usual = usual
        self._channels = settings.channels
        self._chains = chains
        self._by_match = {
            rule.match: self._special(settings, rule) for rule in settings.channels.rules
        }

    @property
    def chains(self) -> list[ProviderChain]:
        """All chains; that of channels without a rule comes first."""
        return [self.usual.chain, *self._chains.values()]

    def of(self, channel_id: str) -> TurnSettings:
        """Return what the next turn of this channel uses."""
        return self._by_match.get(self._channels.rule_of(channel_id).match, self.usual)

    def _special(self, settings: Settings, rule: ChannelRule) -> TurnSettings:
        personas, service = self.usual.personas, self.usual.service
        if rule.persona is not None:
            personas = Personas(settings.personas, rule.persona)
        if rule.max_context_messages is not None:
            service = replace(service, max_context_messages=rule.max_context_messages)
        chain = self._chains.get(tuple(settings.provider_names_of(rule)), self.usual.chain)
        return replace(self.usual, chain=chain, personas=personas, service=service, rule=rule)


def new_rule_providers(settings: Settings, given: Iterable[LLMProvider]) -> RuleProviders:
    """Return the providers of each rule that has others than the usual ones; none has started.

    given: used where a rule names one of them.
    """
    by_name = {provider.name: provider for provider in given}
    names = {tuple(settings.provider_names_of(rule)) for rule in settings.channels.rules}
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
