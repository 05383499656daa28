"""The prices of the extra `prices`: what models of known providers cost, kept in a package.

The package is genai-prices. Its data are inside: nothing here asks the network, and its own updates
stay off. Its import takes seconds, so `prepare` is called in a thread, before the first look-up.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from typing import TYPE_CHECKING

from engine.config.settings import Settings
from engine.errors import CannotStart
from providers.base import LLMProvider, Usage
from providers.installation import install_command

if TYPE_CHECKING:
    from genai_prices.data_snapshot import DataSnapshot
    from genai_prices.types import ModelInfo, Provider

PACKAGE = "genai-prices"
MODELS_KEPT = 1000


class PriceList:
    """What models cost, by the address of their provider.

    A provider whose address the list does not know has no prices, whatever its models' names: a
    server of one's own may serve anything under the name of another one's model.

    providers: their `base_url` is their address; one without it has no prices.
    """

    def __init__(self, providers: Iterable[LLMProvider]) -> None:
        self._addresses = {each.name: str(getattr(each, "base_url", "")) for each in providers}
        self._found: dict[tuple[str, str], tuple[Provider, ModelInfo] | None] = {}

    def usd(self, provider: str, model: str, usage: Usage) -> float | None:
        """Return what a call costs; None if the list does not know."""
        found = self._find(provider, model)
        if found is None:
            return None
        from genai_prices import Usage as ListedUsage

        owner, priced = found
        try:
            listed = ListedUsage(
                input_tokens=usage.prompt_tokens,
                cache_read_tokens=min(usage.cached_tokens, usage.prompt_tokens),
                output_tokens=usage.completion_tokens,
            )
            price = priced.calc_price(listed, owner, genai_request_timestamp=datetime.now(UTC))
        except ValueError:  # counts that cannot be, such as a provider of another author may give
            return None
        return float(price.total_price)

    def _find(self, provider: str, model: str) -> tuple[Provider, ModelInfo] | None:
        """Return the model in the list. The look-up itself takes up to a millisecond."""
        key = (provider, model)
        if key not in self._found:
            if len(self._found) >= MODELS_KEPT:  # names come from servers
                self._found.clear()
            self._found[key] = self._look_up(self._addresses.get(provider, ""), model)
        return self._found[key]

    def _look_up(self, address: str, model: str) -> tuple[Provider, ModelInfo] | None:
        if not address or not model:
            return None
        try:
            return _data().find_provider_model(model, None, None, address)
        except LookupError:
            return None


def prepare(settings: Settings) -> None:
    """Import the package if the settings ask for it. Raises CannotStart if it is missing.

    Takes up to some seconds, the first time.
    """
    if not settings.accounting.price_list:
        return
    try:
        _data()
    except ImportError as exc:
        raise CannotStart(
            f'[accounting] price_list = "{PACKAGE}" needs the extra prices:'
            f" {install_command('prices')}"
        ) from exc


def version() -> str:
    """Return the version of the package, which is also that of its data."""
    return metadata.version(PACKAGE)


@cache
def _data() -> DataSnapshot:
    from genai_prices.data_snapshot import get_snapshot

    return get_snapshot()
