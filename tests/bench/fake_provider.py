"""A fake provider that costs almost nothing: OpenAI's chat completions on a raw protocol.

The model's name says how it answers: `ms-200` after 200 ms, `ms-0` at once. A token stream is 10
chunks written together; `ms-0-chunks-50` writes 50, and `ms-0-chunks-50-each-10` writes one every
10 ms. The process writes `{"url": ...}` when it listens, and ends when its stdin is closed. Its
question `connections` is how many were opened since the start.
"""

from __future__ import annotations

import asyncio
import re
from functools import lru_cache
from typing import cast

import orjson

from tests.bench.children import answer_questions, run

PIECE = "twenty bytes a piece"
CHUNKS = 10
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_MODEL = re.compile(rb'"ms-(\d+)(?:-chunks-(\d+))?(?:-each-(\d+))?"')
_USAGE = {"prompt_tokens": 600, "completion_tokens": 50, "total_tokens": 650}
_OK = b"HTTP/1.1 200 OK\r\nContent-Type: "
_STREAM_HEAD = _OK + b"text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


class Connection(asyncio.Protocol):
    """A keep-alive connection, whose requests come one at a time.

    opened: how many there were in this process.
    """

    opened = 0

    def __init__(self) -> None:
        Connection.opened += 1
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
            if head.startswith(b"POST /v1/chat/completions "):
                self._answer(body)
            else:
                self._write(_http(b'{"data":[]}'))

    def _answer(self, body: bytes) -> None:
        # Searched, not parsed, because this process must be far faster than the engine. No message
        # can match: in a JSON string these quotes are escaped.
        named = _MODEL.search(body)
        assert named is not None, "expected a model such as ms-200"
        after_ms, chunks, each_ms = _numbers(named)
        if b'"stream":true' not in body:
            self._write_later(after_ms, whole(chunks))
        elif each_ms:
            for number, part in enumerate(stream(chunks)):
                self._write_later(after_ms + number * each_ms, part)
        else:
            self._write_later(after_ms, b"".join(stream(chunks)))

    def _write_later(self, after_ms: int, part: bytes) -> None:
        if after_ms:
            asyncio.get_running_loop().call_later(after_ms / 1000, self._write, part)
        else:
            self._write(part)

    def _write(self, part: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(part)


def chunks_of(model: str) -> int:
    """Return how many chunks a token stream of this model has."""
    named = _MODEL.search(f'"{model}"'.encode())
    assert named is not None, model
    return _numbers(named)[1]


def _numbers(named: re.Match[bytes]) -> tuple[int, int, int]:
    """Return the milliseconds until an answer, its chunks, and the milliseconds between these."""
    after_ms, chunks, each_ms = (int(number or 0) for number in named.groups())
    return after_ms, chunks or CHUNKS, each_ms


class Answers:
    """The answers to the questions: each method is named as in the question's `do`."""

    async def connections(self) -> dict[str, int]:
        return {"opened": Connection.opened}


def _http(body: bytes) -> bytes:
    return _OK + b"application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


@lru_cache
def whole(chunks: int) -> bytes:
    message = {"role": "assistant", "content": PIECE * chunks}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    reply = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "fake"}
    return _http(orjson.dumps({**reply, "choices": [choice], "usage": _USAGE}))


@lru_cache
def stream(chunks: int) -> tuple[bytes, ...]:
    """Return a token stream as bytes, one part per chunk; the first has the head, the last the end.

    All of a model's answers are the same.
    """
    parts = [_chunk({"content": PIECE}) for _ in range(chunks)]
    parts[0] = _STREAM_HEAD + _chunk({"role": "assistant", "content": ""}) + parts[0]
    parts[-1] += _chunk({}, finish_reason="stop") + _chunk(None) + _event(b"[DONE]") + b"0\r\n\r\n"
    return tuple(parts)


def _chunk(delta: dict[str, str] | None, finish_reason: str | None = None) -> bytes:
    """Return an event with a chunk; without a delta, the one with the usage."""
    chunk = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "fake"}
    if delta is None:
        return _event(orjson.dumps({**chunk, "choices": [], "usage": _USAGE}))
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    return _event(orjson.dumps({**chunk, "choices": [choice]}))


def _event(data: bytes) -> bytes:
    return b"%x\r\ndata: %b\n\n\r\n" % (len(data) + 8, data)


async def main() -> None:
    # A thousand connections may arrive at the same time.
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Connection, "127.0.0.1", 0, backlog=4096)
    port = server.sockets[0].getsockname()[1]
    await answer_questions(Answers(), url=f"http://127.0.0.1:{port}")


if __name__ == "__main__":
    run(main())
