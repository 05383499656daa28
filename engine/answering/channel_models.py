"""The models that a channel may be switched to, each with the providers that answer with it."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from engine.config.allowed_models import AllowedModels, ChosenModel
from providers.chain.chain import ProviderChain

log = logging.getLogger("rosey_llm.channel")
MOST_TOLD = 10_000


class ChannelModels:
    """The models of one rule's channels.

    chains: by the provider of a chosen model. They are held and released together: which of them a
        turn needs is known only when its channel is loaded.
    """

    def __init__(self, allowed: AllowedModels, chains: Mapping[str, ProviderChain]) -> None:
        self.allowed = allowed
        self.chains = chains
        self._told: set[tuple[str, ChosenModel]] = set()

    def hold(self) -> None:
        for chain in self.chains.values():
            chain.hold()

    def release(self) -> None:
        for chain in self.chains.values():
            chain.release()

    def chain_of(self, choice: ChosenModel) -> ProviderChain | None:
        """Return who answers with this model; None if it may not be chosen (any more)."""
        return self.chains[choice.provider] if choice in self.allowed else None

    def note_not_used(self, channel_id: str, choice: ChosenModel) -> None:
        """Log that a channel's choice is not allowed any more: once, until the next reload."""
        if (channel_id, choice) in self._told:
            return
        if len(self._told) >= MOST_TOLD:
            self._told.clear()
        self._told.add((channel_id, choice))
        log.warning(
            "Channel %(channel).80r has chosen %(model)s, which is not allowed any more; its"
            " configured model answers.",
            {"event": "channel.model_not_allowed", "channel": channel_id, "model": str(choice)},
        )


NO_MODELS = ChannelModels(AllowedModels((), ""), {})
