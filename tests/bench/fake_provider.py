"""A provider that costs next to nothing: OpenAI's chat completions on a raw protocol.

The model's name says how long an answer takes: `ms-200` answers after 200 ms, `ms-0` at once.
Says `{"url": ...}` once it listens, and ends with its standard input.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import cast

import orjson
import uvloop

from tests.bench.children import say, until_told_to_end

PIECES = ["twenty bytes a piece"] * 10
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_MODEL = re.compile(rb'"model":"ms-(\d+)"')
_CLOSE = b"\r\nconnection: close"
_USAGE = {"prompt_tokens": 600, "completion_tokens": 50, "total_tokens": 650}
_CHAT_PATH = b"POST /v1/chat/completions "


@dataclass(frozen=True, slots=True)
class Asked:
    """What of a request matters here."""

    latency_s: float
    stream: bool
    close: bool


class Connection(asyncio.Protocol):
    """One keep-alive connection; its requests come one at a time."""

    def __init__(self) -> None:
        self._received = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._received += data
        while (head_end := self._received.find(b"\r\n\r\n")) >= 0:
            head = self._received[:head_end]
            length = _LENGTH.search(head)
            body_end = head_end + 4 + (int(length[1]) if length else 0)
            if len(self._received) < body_end:
                return
            body = self._received[head_end + 4 : body_end]
            self._received = self._received[body_end:]
            self._answer(head, body)

    def _answer(self, head: bytes, body: bytes) -> None:
        if not head.startswith(_CHAT_PATH):
            self._transport.write(_http(b'{"data":[]}'))
            return
        asked = _read(head, body)
        if asked.latency_s:
            asyncio.get_running_loop().call_later(asked.latency_s, self._write, asked)
        else:
            self._write(asked)

    def _write(self, asked: Asked) -> None:
        if self._transport.is_closing():
            return
        self._transport.write(STREAMED if asked.stream else WHOLE)
        if asked.close:
            self._transport.close()


def _read(head: bytes, body: bytes) -> Asked:
    # Searched, not parsed: within a JSON string these quotes would be escaped, so that no message
    # can be taken for them, and the fake must stay far from being the limit.
    model = _MODEL.search(body)
    assert model is not None, "the model's name says the latency: ms-200"
    return Asked(int(model[1]) / 1000, b'"stream":true' in body, _CLOSE in head.lower())


def _http(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (
        len(body),
        body,
    )


def _whole() -> bytes:
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": "".join(PIECES)},
        "finish_reason": "stop",
    }
    reply = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "fake"}
    return _http(orjson.dumps({**reply, "choices": [choice], "usage": _USAGE}))


def _streamed() -> bytes:
    """A token stream: its text in pieces, the finish reason, the usage, the end."""
    deltas: list[tuple[dict[str, str], str | None]] = [({"role": "assistant", "content": ""}, None)]
    deltas += [({"content": piece}, None) for piece in PIECES]
    deltas += [({}, "stop")]
    choices = [[{"index": 0, "delta": delta, "finish_reason": end}] for delta, end in deltas]
    chunk = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "fake"}
    chunks = [orjson.dumps({**chunk, "choices": each}) for each in choices]
    chunks += [orjson.dumps({**chunk, "choices": [], "usage": _USAGE}), b"[DONE]"]
    blocks = [b"data: %b\n\n" % each for each in chunks]
    head = (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    return head + b"".join(b"%x\r\n%b\r\n" % (len(b), b) for b in blocks) + b"0\r\n\r\n"


WHOLE = _whole()
STREAMED = _streamed()


async def main() -> None:
    loop = asyncio.get_running_loop()
    # A thousand connections may come at once.
    server = await loop.create_server(Connection, "127.0.0.1", 0, backlog=4096)
    port = server.sockets[0].getsockname()[1]
    say({"url": f"http://127.0.0.1:{port}"})
    await until_told_to_end()
    server.close()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
