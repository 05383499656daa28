"""Log lines to standard error, which never wait for whoever reads them."""

from __future__ import annotations

import logging
import os
import select
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

HELD_LIMIT_BYTES = 256 * 1024
LAST_WAIT_MS = 200
DROPPED = "%d lines were dropped here: nobody read standard error."
# So many bytes fit into a pipe that has been reported as ready, without waiting.
CHUNK_BYTES = getattr(select, "PIPE_BUF", 512)


class StderrHandler(logging.Handler):
    """Writes each line at once where it can be taken, and holds it where it cannot.

    Where nobody reads a pipe any more, a write into it waits, and with it every channel. So lines
    are written only where the kernel says that there is room. Up to 256 KiB of them are held until
    the next line finds room again, or the process ends; beyond that they are dropped, and a line
    says how many. A line is written by whoever logs it, so that a killed process has said it.
    """

    def __init__(self, descriptor: int = 2) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._held: deque[bytes] = deque()
        self._held_bytes = 0
        self._dropped = 0
        self._encoding = getattr(sys.stderr, "encoding", None) or "utf-8"
        self._poll: select.poll | None = None
        if hasattr(select, "poll"):  # not on Windows
            self._poll = select.poll()
            self._poll.register(descriptor, select.POLLOUT)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record)
        except Exception:  # noqa: BLE001 - the edge: a wrong log call must not break who makes it
            self.handleError(record)
            return
        self._write()
        self._hold(line)
        self._write()

    def flush(self) -> None:
        with self._alone():
            self._write()

    def close(self) -> None:
        """The last lines go out as long as somebody reads them."""
        with self._alone():
            self._write(LAST_WAIT_MS)
            if self._dropped:
                self._say_dropped()
                self._write(LAST_WAIT_MS)
        super().close()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        self.acquire()
        try:
            yield
        finally:
            self.release()

    def _hold(self, line: str) -> None:
        data = self._encoded(line)
        if self._dropped and self._held_bytes < HELD_LIMIT_BYTES // 2:
            self._say_dropped()
        if self._dropped or (self._held and self._held_bytes + len(data) > HELD_LIMIT_BYTES):
            self._dropped += 1
            return
        self._held.append(data)
        self._held_bytes += len(data)

    def _say_dropped(self) -> None:
        said = {"name": "rosey_llm.log", "levelno": logging.WARNING, "levelname": "WARNING"}
        record = logging.makeLogRecord(said | {"msg": DROPPED, "args": (self._dropped,)})
        self._dropped = 0
        self._hold(self.format(record))

    def _encoded(self, line: str) -> bytes:
        return f"{line}\n".encode(self._encoding, "backslashreplace")

    def _write(self, wait_ms: int = 0) -> None:
        while self._held and self._has_room(wait_ms):
            data = self._held.popleft()
            try:
                written = os.write(self._descriptor, data[:CHUNK_BYTES])
            except BlockingIOError:  # somebody else filled it just now
                written = 0
            except OSError:  # whoever read it has gone for good
                self._held.clear()
                self._held_bytes = 0
                return
            self._held_bytes -= written
            if written < len(data):
                self._held.appendleft(data[written:])

    def _has_room(self, wait_ms: int) -> bool:
        return self._poll is None or bool(self._poll.poll(wait_ms))
