"""Providers whose sockets record every byte, and which can go and come back."""

from __future__ import annotations

import asyncio
import hashlib
import mmap
import random
import re
from collections import defaultdict
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import orjson

from tests.fakes.llm_server import CHAT_PATHS, Behaviour, LLMServer, RecordedRequest
from tests.support.relay import Relay

_QUESTION = re.compile(r"say (\w+-\d+):")
LONGEST_DELAY_S, SLOW_S = 0.06, 0.5
_SLOWLY = "take your time"


def question(request_id: str, *, slowly: bool = False) -> str:
    """Return the text of a question; the id in it identifies its prompt."""
    return f"say {request_id}: {_SLOWLY if slowly else 'tell me more'}"


class _Model(LLMServer):
    """A server whose answers have one to fourteen sentences.

    seen: the SHA-256 of the prompts of each request id.
    """

    def __init__(self, rng: random.Random) -> None:
        self.seen: dict[str, set[str]] = defaultdict(set)
        self._rng = rng
        super().__init__(self._say)

    async def _answer(self, request: RecordedRequest, writer: asyncio.StreamWriter) -> None:
        if request.path in CHAT_PATHS:
            prompt = orjson.dumps(request.body["messages"])
            self.seen[_asked(request.body)].add(hashlib.sha256(prompt).hexdigest())
            is_slow = request.body["messages"][-1]["content"].endswith(_SLOWLY)
            delay_s = SLOW_S if is_slow else self._rng.uniform(0.01, LONGEST_DELAY_S)
            gap_s = self._rng.choice([0, 0.001])
            self.plan(Behaviour(delay_s=delay_s, gap_s=gap_s))
        # These lists would keep every prompt of a long run.
        self.requests.clear()
        self.prompts.clear()
        await super()._answer(request, writer)

    def _say(self, body: dict[str, Any]) -> str:
        asked = _asked(body)
        return " ".join(
            f"Sentence {number} of {asked} is here."
            for number in range(1, self._rng.randint(2, 15))
        )


def _asked(body: dict[str, Any]) -> str:
    found = _QUESTION.search(body["messages"][-1]["content"])
    return found[1] if found else "?"


class RecordedModel:
    """A model behind a port that records what comes in, while it is there.

    seen: as of the model. The port stays the same when it was gone.
    """

    def __init__(self, name: str, folder: Path, rng: random.Random) -> None:
        self._model = _Model(rng)
        self._record = folder / f"{name}.bytes"
        self._record.touch()
        self._port: Relay

    @property
    def seen(self) -> dict[str, set[str]]:
        return self._model.seen

    @property
    def port(self) -> int:
        return self._port.port

    async def go(self) -> None:
        """Be gone: end all connections, and refuse new ones."""
        await self._port.cut()

    async def come_back(self) -> None:
        await self._port.mend()

    def _keep(self, sent: bytes) -> None:
        with self._record.open("ab") as file:
            file.write(sent)

    @property
    def size_bytes(self) -> int:
        """How many bytes came in, over connections that have ended."""
        return self._record.stat().st_size

    def times(self, text: str) -> int:
        """Return how often a text of ASCII letters came in, in any case, over such connections."""
        if not self.size_bytes:
            return 0
        pattern = re.compile(re.escape(text.encode()), re.IGNORECASE)
        with (
            self._record.open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as received,
        ):
            return sum(1 for _ in pattern.finditer(received))

    async def __aenter__(self) -> Self:
        await self._model.__aenter__()
        self._port = Relay(self._model.port, self._keep)
        await self._port.mend()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._port.cut()
        await self._model.stop()
