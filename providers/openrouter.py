"""OpenRouter: many companies' models behind one key, spoken to as OpenAI is."""

from __future__ import annotations

from dataclasses import dataclass

from providers.openai import OpenAIConfig, OpenAIProvider


@dataclass(frozen=True, kw_only=True)
class OpenRouterConfig(OpenAIConfig):
    """site_url, site_name: how OpenRouter lists the requests' origin on its pages."""

    base_url: str = "https://openrouter.ai/api/v1"
    default_model: str = "anthropic/claude-3-sonnet"
    site_url: str = ""
    site_name: str = "Rosey-Robot"


class OpenRouterProvider(OpenAIProvider):
    """Errors of the companies behind it come as status 200 with an `error` in the body."""

    kind = "openrouter"
    Config = OpenRouterConfig
    config: OpenRouterConfig
    key_host = "openrouter.ai"
    key_variable = "OPENROUTER_API_KEY"

    @property
    def label(self) -> str:
        return "OpenRouter"

    def extra_headers(self) -> dict[str, str]:
        name = self.header_value("site_name", self.config.site_name)
        headers = {
            "HTTP-Referer": self.header_value("site_url", self.config.site_url),
            "X-OpenRouter-Title": name,
            "X-Title": name,  # what the title was called before
        }
        return {**super().extra_headers(), **{k: v for k, v in headers.items() if v}}

    async def _touch(self) -> None:
        # Its list of models is public, so it would prove nothing about the key.
        self._check_key()
        await self.session.get_json(f"{self.base_url}/key")
