"""The OpenRouter provider: models of many companies behind one key, over OpenAI's protocol."""

from __future__ import annotations

from dataclasses import dataclass

from providers.base import LLMProvider
from providers.errors import ProviderError
from providers.http.address_probe import knows_no_path
from providers.http.error_mapping import as_dict
from providers.openai import OpenAIConfig, OpenAIProvider


@dataclass(frozen=True, kw_only=True)
class OpenRouterConfig(OpenAIConfig):
    """The settings of an OpenRouter provider.

    site_url, site_name: the origin of the requests, as OpenRouter shows it on its pages.
    """

    base_url: str = "https://openrouter.ai/api/v1"
    default_model: str = "anthropic/claude-3-sonnet"
    site_url: str = ""
    site_name: str = "Rosey-Robot"


class OpenRouterProvider(OpenAIProvider):
    """A provider for OpenRouter. `OpenAIProvider` does most of the work."""

    kind = "openrouter"
    billing = "reported"
    Config = OpenRouterConfig
    config: OpenRouterConfig
    key_host = "openrouter.ai"
    key_variable = "OPENROUTER_API_KEY"
    moderate = LLMProvider.moderate  # OpenRouter has no such API

    @property
    def label(self) -> str:
        return "OpenRouter"

    def extra_headers(self) -> dict[str, str]:
        name = self.header_value("site_name", self.config.site_name)
        headers = {
            "HTTP-Referer": self.header_value("site_url", self.config.site_url),
            "X-OpenRouter-Title": name,
            "X-Title": name,  # the header's former name
        }
        return {**super().extra_headers(), **{k: v for k, v in headers.items() if v}}

    async def _check_access(self) -> bool:
        # The list of models is public, so it would prove nothing about the key.
        self._check_key()
        try:
            answer = as_dict(await self.session.get_json(f"{self.base_url}/key"))
        except ProviderError as exc:
            if not knows_no_path(exc):
                raise
            return False
        return "data" in answer
