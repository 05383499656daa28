"""The body of a successful reply, read in blocks as it arrives or as one JSON value."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from types import TracebackType
from typing import Any, Literal, Self

import aiohttp
import orjson

from providers.errors import ConnectionLost, EmptyAnswer, ProviderError
from providers.http.stream_parser import LIMIT_BYTES, TooLong, parsed
from providers.http.transport_errors import FOREIGN

REPLY_LIMIT_BYTES = 16 * 1024 * 1024
DRAIN_S = 0.25
_BOM = b"\xef\xbb\xbf"
_BEGINNINGS = (b"{", b"[")

# json: one JSON value over several lines. lines: the first line is a whole JSON value, and may be
# the only one. other: neither, such as server-sent events, plain text or HTML.
Form = Literal["json", "lines", "other"]


class Reply:
    """A reply with status 200 whose body is not read yet; a context manager.

    Within its block, too, every failure becomes a ProviderError. If the block is left before the
    end of the body, the connection is closed.

    label: the provider's name in error texts.
    translate: returns our own error for one of `FOREIGN`. shown: returns the exception to show as
        the cause of that error.
    """

    def __init__(
        self,
        response: aiohttp.ClientResponse,
        label: str,
        translate: Callable[[Exception], ProviderError],
        shown: Callable[[Exception], Exception | None],
    ) -> None:
        self._response = response
        self._label = label
        self._translate = translate
        self._shown = shown
        self._ahead = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if not self._response.closed:  # the body was not read to its end
            self._response.close()
        if isinstance(exc, FOREIGN):
            raise self._translate(exc) from self._shown(exc)

    async def form(self) -> Form:
        """Return what the body is, by its first line: servers send JSON under any content type."""
        line = await self._peek_line()
        if not line.startswith(_BEGINNINGS):
            return "other"
        if len(line) <= LIMIT_BYTES:
            try:
                parsed(line)
            except orjson.JSONDecodeError:
                return "json"
        return "lines"

    async def is_one_value(self) -> bool:
        """Return whether the body is one JSON value, over one line or several.

        If the first line is JSON, this waits until more comes.
        """
        form = await self.form()
        if form != "lines":
            return form == "json"
        while not (more := self._ahead.partition(b"\n")[2].strip()):
            if not (block := await self._response.content.readany()):
                break
            self._ahead += block
        return not more

    def blocks(self) -> Blocks:
        """Yield the body in blocks as they arrive."""
        ahead, self._ahead = self._ahead, b""
        return Blocks(ahead, self._response.content.readany)

    async def json(self) -> Any:
        block, self._ahead = self._ahead, b""
        blocks, size_bytes = [block], len(block)
        content = self._response.content
        # Usually all has come by the first read, and another would only show that.
        while size_bytes <= REPLY_LIMIT_BYTES and not content.at_eof():
            blocks.append(block := await content.readany())
            size_bytes += len(block)
        if size_bytes > REPLY_LIMIT_BYTES:
            raise TooLong(f"a reply of more than {REPLY_LIMIT_BYTES} bytes")
        body = b"".join(blocks).removeprefix(_BOM)
        if not body.strip():
            raise EmptyAnswer(f"{self._label} sent an empty reply")
        try:
            return parsed(body)
        except orjson.JSONDecodeError as exc:
            if self._may_be_cut and body.lstrip().startswith(_BEGINNINGS):
                raise ConnectionLost(f"the connection to {self._label} was lost") from exc
            raise

    async def drain(self) -> None:
        """Read what follows the answer, so that the connection can be used again."""
        content = self._response.content
        if content.at_eof():
            return
        with suppress(TimeoutError, aiohttp.ClientError, OSError):
            async with asyncio.timeout(DRAIN_S):
                while await content.readany():
                    pass

    @property
    def _may_be_cut(self) -> bool:
        """Whether the body ends with the connection, so that HTTP cannot show that it was cut."""
        headers = self._response.headers
        return "Content-Length" not in headers and "Transfer-Encoding" not in headers

    async def _peek_line(self) -> bytes:
        """Return the first line that is not blank; of text that is no JSON, only what has come."""
        head, begun = bytearray(), False
        read = self._response.content.readany
        while len(head) <= LIMIT_BYTES and (block := await read()):
            searched = len(head)
            head += block
            if not begun:
                if _BOM.startswith(head):
                    continue
                head = bytearray(head.removeprefix(_BOM).lstrip())
                begun, searched = bool(head), 0
            if begun and (not head.startswith(_BEGINNINGS) or head.find(b"\n", searched) >= 0):
                break
        self._ahead = bytes(head)
        return self._ahead.partition(b"\n")[0]


class Blocks:
    """The blocks of a body: first what was read ahead, then what arrives."""

    __slots__ = ("_ahead", "_read")

    def __init__(self, ahead: bytes, read: Callable[[], Awaitable[bytes]]) -> None:
        self._ahead = ahead
        self._read = read

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if self._ahead:
            block, self._ahead = self._ahead, b""
            return block
        if block := await self._read():
            return block
        raise StopAsyncIteration
