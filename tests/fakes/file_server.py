"""A server of one file, which can break off, lie, or refuse."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

MODEL = b"GGUF" + bytes(range(256)) * 4000
SUM = hashlib.sha256(MODEL).hexdigest()


@dataclass
class FileServer:
    """A server of one file.

    breaks: after how many bytes each reply breaks off; later ones do not.
    statuses: what the next replies say in place of the file.
    piece: at most so many bytes are sent in reply to a request for a range.
    headers: sent with every reply.
    asked: the header Range of each request, "" if it has none.
    """

    content: bytes = MODEL
    ranges: bool = True
    length: int | str | None = None
    piece: int | None = None
    breaks: list[int] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    headers: Mapping[str, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/files/tiny.gguf"

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        asked = handler.headers.get("Range", "")
        self.asked.append(asked)
        if self.statuses:
            return self.refuse(handler, self.statuses.pop(0))
        begin = int(asked[6:-1]) if asked and self.ranges else 0
        if begin and begin >= len(self.content):
            return self.refuse(handler, 416, f"bytes */{len(self.content)}")
        handler.send_response(206 if begin else 200)
        if begin:
            end = min(begin + (self.piece or len(self.content)), len(self.content))
            span = f"bytes {begin}-{end - 1}/{len(self.content)}"
            handler.send_header("Content-Range", span)
        body = self.content[begin:end] if begin else self.content
        handler.send_header("Content-Length", str(self.length or len(body)))
        handler.end_headers()
        with suppress(ConnectionError):  # the client has seen enough
            handler.wfile.write(body[: self.breaks.pop(0) if self.breaks else None])
        handler.close_connection = True
        return None

    def refuse(self, handler: BaseHTTPRequestHandler, status: int, span: str = "") -> None:
        handler.send_response(status)
        handler.send_header("Content-Length", "0")
        if span:
            handler.send_header("Content-Range", span)
        for name, value in self.headers.items():
            handler.send_header(name, value)
        handler.end_headers()

    @classmethod
    @contextmanager
    def listening(cls) -> Iterator[Self]:
        files = cls()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                files.answer(self)

            def log_message(self, *args: object) -> None:
                pass

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
            files.port = listening.server_port
            thread = threading.Thread(target=listening.serve_forever, args=(0.01,))
            thread.start()
            yield files
            listening.shutdown()
            thread.join()
