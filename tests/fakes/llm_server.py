"""A fake HTTP server for Ollama, OpenAI and OpenRouter that can also misbehave.

    async with LLMServer() as server:
        server.plan(Behaviour(status=503), Behaviour(text="Hi", hang_after=1))

`server.url` is the base_url of Ollama, `server.url + "/v1"` of OpenAI, `server.url + "/api/v1"` of
OpenRouter.
It writes HTTP without a library, since a good library would not let it break the rules.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any, Self

import orjson

from tests.fakes.llm_answers import moderation, stream, whole
from tests.support.patience import WAIT_S

MODERATIONS = "/v1/moderations"
CHAT_PATHS = ("/api/chat", "/api/generate", "/v1/chat/completions", "/api/v1/chat/completions")


@dataclass(frozen=True, slots=True)
class RecordedRequest:
    """A request that the server received. Header names are lower-case; no body is {}."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    method: str = "POST"

    @property
    def closes(self) -> bool:
        """Whether the client wants the connection closed after this call."""
        return self.headers.get("connection") == "close"


@dataclass(frozen=True, kw_only=True)
class Behaviour:
    """The way the server answers one call. By default: at once, with its reply, word by word.

    status, headers, body: of a status other than 200, `body` is JSON, text, bytes, or a list of
        bytes that are written one by one; with status 200, `body` replaces the answer.
    text, pieces: the answer, or its pieces.
    drop: close the connection before the first byte.
    hold: wait for this event before the first byte, or before piece number `hold_after`.
    delay_s, gap_s: pauses before the first byte and between pieces.
    cut_after: close the connection after this many pieces, by default so that HTTP shows it (chunks
        without an end, a body shorter than its length).
    cut_cleanly: close the connection so that HTTP does not show it.
    hang_after: after this many pieces, send nothing more.
    """

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    content_type: str = "application/json"
    text: str | None = None
    pieces: Sequence[str] | None = None
    drop: bool = False
    hold: asyncio.Event | None = None
    hold_after: int = 0
    delay_s: float = 0.0
    gap_s: float = 0.0
    cut_after: int | None = None
    cut_cleanly: bool = False
    hang_after: int | None = None
    finish_reason: str = "stop"


class _Cut(Exception):
    """The connection ends here."""


class _Reader(asyncio.StreamReader):
    """A stream reader whose event `gone` is set when the client leaves, even without a read."""

    def __init__(self) -> None:
        super().__init__(limit=2**24)
        self.gone = asyncio.Event()

    def feed_eof(self) -> None:
        super().feed_eof()
        self.gone.set()

    def set_exception(self, exc: Exception) -> None:
        super().set_exception(exc)
        self.gone.set()


class LLMServer:
    """The fake server, as the module describes it.

    requests: all requests.
    prompts: the messages of each chat call.
    routes: behaviours of paths that are not chat calls.
    aliases: other paths, also with a query, and the paths that they are taken for.
    headers: sent with every answer.
    api_key: if set, requests without it get 401.
    flags: what the moderation looks for in a text, and the category for it.
    judged: the texts that it was given.
    connections: all connections so far.
    disconnects: clients that left before the end of their answer.
    """

    def __init__(
        self,
        reply: Callable[[dict[str, Any]], str] | str | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._tls = tls
        self.reply: Callable[[dict[str, Any]], str] | str = reply or _echo
        self.requests: list[RecordedRequest] = []
        self.prompts: list[list[dict[str, Any]]] = []
        self.models = ["llama3.2:latest", "gpt-4", "anthropic/claude-3-sonnet"]
        self.capabilities = ["completion"]
        self.routes: dict[str, Behaviour] = {}
        self.aliases: dict[str, str] = {}
        self.headers: dict[str, str] = {}
        self.api_key: str | None = None
        self.flags: dict[str, str] = {}
        self.judged: list[str] = []
        self.connections = 0
        self.disconnects = 0
        self.url = ""
        self.port = 0
        self._plans: deque[Behaviour] = deque()
        self._changed = asyncio.Event()
        self._handlers: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    def plan(self, *behaviours: Behaviour) -> None:
        """Answer the next chat calls with these behaviours, one each; later calls as usual."""
        self._plans.extend(behaviours)

    async def wait_for_requests(self, count: int) -> None:
        """Wait until `count` chat calls have arrived since the start."""
        await self._wait(lambda: len(self.prompts) >= count)

    async def wait_for_judged(self, count: int) -> None:
        """Wait until `count` texts have come to be judged since the start."""
        await self._wait(lambda: len(self.judged) >= count)

    async def wait_for_disconnects(self, count: int) -> None:
        """Wait until `count` clients have left before the end of their answer."""
        await self._wait(lambda: self.disconnects >= count)

    @property
    def open_connections(self) -> int:
        """The connections that are open now, in use or not."""
        return len(self._writers)

    async def wait_until_left(self) -> None:
        """Wait until no client has an open connection."""
        await self._wait(lambda: not self._writers)

    def calls(self, path: str) -> int:
        """Return how many requests for a path there were."""
        return Counter(request.path for request in self.requests)[path]

    async def __aenter__(self) -> Self:
        self._server = await asyncio.get_running_loop().create_server(
            lambda: asyncio.StreamReaderProtocol(_Reader(), self._connected),
            "127.0.0.1",
            0,
            ssl=self._tls,
        )
        self.port = self._server.sockets[0].getsockname()[1]
        self.url = f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()

    async def stop(self) -> None:
        """Close the port and every connection; then `url` refuses connections."""
        server, self._server = self._server, None
        if server is None:
            return
        server.close()
        for writer in self._writers:
            writer.transport.abort()
        for handler in self._handlers:
            handler.cancel()
        await asyncio.gather(*self._handlers, return_exceptions=True)
        await server.wait_closed()

    async def _wait(self, reached: Callable[[], bool]) -> None:
        async with asyncio.timeout(WAIT_S):
            while not reached():
                await self._changed.wait()

    def _change(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert isinstance(reader, _Reader)
        self.connections += 1
        handler = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._handlers.add(handler)
        handler.add_done_callback(self._handlers.discard)

    async def _serve(self, reader: _Reader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            with suppress(_Cut, ConnectionError, asyncio.IncompleteReadError):
                while True:
                    request = await _read_request(reader)
                    self.requests.append(request)
                    path = self.aliases.get(request.path, request.path)
                    request = replace(request, path=path)
                    await self._answer_or_leave(request, reader, writer)
                    if request.closes:
                        break
        finally:
            self._writers.discard(writer)
            self._change()
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    async def _answer_or_leave(
        self, request: RecordedRequest, reader: _Reader, writer: asyncio.StreamWriter
    ) -> None:
        answer = asyncio.create_task(self._answer(request, writer))
        gone = asyncio.create_task(reader.gone.wait())
        try:
            await asyncio.wait({answer, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not answer.done():
                self.disconnects += 1
                self._change()
                raise _Cut
            await answer
        finally:
            answer.cancel()
            gone.cancel()
            await asyncio.gather(answer, gone, return_exceptions=True)

    async def _answer(self, request: RecordedRequest, writer: asyncio.StreamWriter) -> None:
        if request.path not in CHAT_PATHS:
            await self._answer_other(request, writer)
            return
        body = request.body
        prompt = [{"role": "user", "content": body.get("prompt", "")}]
        self.prompts.append(body.get("messages", prompt))
        behaviour = self._plans.popleft() if self._plans else Behaviour()
        self._change()
        if self._is_unauthorized(request):
            behaviour = _UNAUTHORIZED
        await asyncio.sleep(behaviour.delay_s)
        if behaviour.hold and not behaviour.hold_after:
            await behaviour.hold.wait()
        if behaviour.drop:
            raise _Cut
        if behaviour.status != 200 or behaviour.body is not None:
            await self._write_whole(writer, request, behaviour)
        elif body.get("stream", request.path.startswith("/api/chat")):
            await self._write_pieces(writer, request, behaviour)
        else:
            await self._write_answer(writer, request, behaviour)

    def _is_unauthorized(self, request: RecordedRequest) -> bool:
        sent = request.headers.get("authorization")
        return self.api_key is not None and sent != f"Bearer {self.api_key}"

    async def _answer_other(self, request: RecordedRequest, writer: asyncio.StreamWriter) -> None:
        if request.path == MODERATIONS:
            self.judged.append(request.body["input"])
            self._change()
        behaviour = self.routes.get(request.path)
        if behaviour is None and self._is_unauthorized(request):
            behaviour = _UNAUTHORIZED
        if behaviour is None:
            known = {
                "/api/version": {"version": "0.20.0"},
                "/api/tags": {"models": [{"name": name} for name in self.models]},
                "/api/show": {"capabilities": self.capabilities},
                "/v1/models": {"object": "list", "data": [{"id": name} for name in self.models]},
                "/api/v1/models": {"data": [{"id": name} for name in self.models]},
                "/api/v1/key": {"data": {"label": "test", "limit_remaining": None}},
            }.get(request.path)
            if request.path == MODERATIONS:
                known = moderation(request.body, self.flags)
            behaviour = Behaviour(status=200 if known else 404, body=known or {"error": "no route"})
        if behaviour.hold:
            await behaviour.hold.wait()
        if behaviour.drop:
            raise _Cut
        if request.path == MODERATIONS and behaviour.status == 200 and behaviour.body is None:
            behaviour = replace(behaviour, body=moderation(request.body, self.flags))
        await self._write_whole(writer, request, behaviour)

    def usage(self, body: dict[str, Any], text: str) -> dict[str, Any] | None:
        """Return what an answer with this text says that it used; None for the usual."""
        return None

    def _pieces(self, request: RecordedRequest, behaviour: Behaviour) -> list[str]:
        if behaviour.pieces is not None:
            return list(behaviour.pieces)
        text = behaviour.text
        if text is None:
            text = self.reply if isinstance(self.reply, str) else self.reply(request.body)
        return re.findall(r"\s*\S+|\s+$", text)

    async def _write_whole(
        self, writer: asyncio.StreamWriter, request: RecordedRequest, behaviour: Behaviour
    ) -> None:
        body = behaviour.body
        if body is None:
            body = {"error": {"message": f"status {behaviour.status}"}}
        if isinstance(body, (dict, str)):
            body = orjson.dumps(body) if isinstance(body, dict) else body.encode()
        blocks = [body] if isinstance(body, bytes) else list(body)
        headers = {
            "Content-Type": behaviour.content_type,
            "Content-Length": str(sum(map(len, blocks))),
            **({"Connection": "close"} if request.closes else {}),
            **self.headers,
            **behaviour.headers,
        }
        head = f"HTTP/1.1 {behaviour.status} Whatever\r\n{_lines(headers)}\r\n"
        writer.write(head.encode("latin-1"))
        for block in blocks:
            writer.write(block)
            await writer.drain()
            await asyncio.sleep(behaviour.gap_s)

    def _more(self) -> bytes:
        return _lines(self.headers).encode("latin-1")

    async def _write_answer(
        self, writer: asyncio.StreamWriter, request: RecordedRequest, behaviour: Behaviour
    ) -> None:
        text = "".join(self._pieces(request, behaviour))
        if behaviour.hold and behaviour.hold_after:
            await behaviour.hold.wait()
        if behaviour.hang_after is not None:
            await asyncio.Event().wait()
        usage = self.usage(request.body, text)
        data = orjson.dumps(whole(request.path, request.body, text, behaviour.finish_reason, usage))
        cut = behaviour.cut_after is not None
        length = b"" if behaviour.cut_cleanly else b"Content-Length: %d\r\n" % len(data)
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
            + length
            + self._more()
            + b"\r\n"
        )
        writer.write(data[: len(data) // 2] if cut else data)
        await writer.drain()
        if cut or behaviour.cut_cleanly:
            raise _Cut

    async def _write_pieces(
        self, writer: asyncio.StreamWriter, request: RecordedRequest, behaviour: Behaviour
    ) -> None:
        native = request.path == "/api/chat"
        kind = b"application/x-ndjson" if native else b"text/event-stream"
        framing = b"" if behaviour.cut_cleanly else b"Transfer-Encoding: chunked\r\n"
        if behaviour.cut_cleanly or request.closes:
            framing += b"Connection: close\r\n"
        framing += self._more()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\n%b\r\n" % (kind, framing))
        wrap = (lambda data: data) if behaviour.cut_cleanly else _chunked
        pieces = self._pieces(request, behaviour)
        usage = self.usage(request.body, "".join(pieces))
        parts = stream(request.path, request.body, pieces, behaviour.finish_reason, usage)
        async for data in self._paced(parts, behaviour):
            writer.write(wrap(data))
            await writer.drain()
        if behaviour.cut_cleanly:
            raise _Cut
        writer.write(b"0\r\n\r\n")
        await writer.drain()

    async def _paced(self, parts: list[bytes], behaviour: Behaviour) -> AsyncIterator[bytes]:
        """Yield the parts in the time that the behaviour sets; the last part ends the answer."""
        *pieces, end = parts
        for number, piece in enumerate([*pieces, end]):
            if number == behaviour.cut_after:
                raise _Cut
            if number == behaviour.hang_after:
                await asyncio.Event().wait()
            if behaviour.hold and number == behaviour.hold_after:
                await behaviour.hold.wait()
            if number:
                await asyncio.sleep(behaviour.gap_s)
            yield piece


_UNAUTHORIZED = Behaviour(
    status=401, body={"error": {"message": "Incorrect API key", "code": "invalid_api_key"}}
)


async def _read_request(reader: asyncio.StreamReader) -> RecordedRequest:
    start = await reader.readexactly(1)
    if not start.isalpha():  # a TLS handshake; real servers end the connection, too
        raise _Cut
    head = (start + await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.rstrip("\r\n").split("\r\n")
    method, path, _ = first.split(" ", 2)
    headers = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return RecordedRequest(path, headers, orjson.loads(body) if body else {}, method)


def _lines(headers: Mapping[str, str]) -> str:
    return "".join(f"{name}: {value}\r\n" for name, value in headers.items())


def _chunked(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _echo(body: dict[str, Any]) -> str:
    texts = [m["content"] for m in body.get("messages", []) if m.get("role") == "user"]
    return f"You said: {texts[-1] if texts else body.get('prompt', '')}"
