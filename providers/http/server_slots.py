"""How many answers a llama.cpp server computes at once: it says so at its address `/props`."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from providers.errors import ProviderError
from providers.http.error_mapping import as_dict
from providers.http.session import Session

PROPS_S = 5.0


class ServerSlots:
    """The slots of a server, asked for once, after its first reply has named it llama.cpp.

    base_url: the provider's, of the API. total: their number; None as long as it is not known.
    """

    def __init__(self, session: Session, base_url: str) -> None:
        self._session = session
        self._url = f"{base_url.removesuffix('/v1')}/props"
        self._asking: asyncio.Task[None] | None = None
        self.total: int | None = None

    def ask_soon(self) -> None:
        """Ask in a task of its own, if this server is one that says it: no answer waits for it."""
        if self._asking is None and self._session.server_name == "llama.cpp":
            self._asking = asyncio.create_task(self._ask(), name="slots of llama.cpp")

    async def aclose(self) -> None:
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait({self._asking})

    async def _ask(self) -> None:
        with suppress(ProviderError, TimeoutError):
            async with asyncio.timeout(PROPS_S):
                total = as_dict(await self._session.get_json(self._url)).get("total_slots")
            if type(total) is int and total > 0:
                self.total = total
