"""A provider of one's own that judges texts, for `[safety] moderation`."""

from __future__ import annotations

from typing import Any

from providers.base import Moderation
from providers.errors import ProviderUnavailable
from providers.scripted import ScriptedProvider


class Judging(ScriptedProvider):
    """A judge that flags what is "bad", and does not answer to what is "odd"."""

    kind = "judging"

    async def moderate(self, text: str, model: str) -> Moderation:
        if "odd" in text:
            raise ProviderUnavailable("it does not answer")
        return Moderation("bad" in text, ("bad",) if "bad" in text else ())


SETTINGS: dict[str, Any] = {
    "safety": {"moderation": "judge"},
    "providers": {"judge": {"kind": f"{__name__}:{Judging.__name__}"}},
}
