"""The log handler for standard error; it never waits for the reader of a pipe."""

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
DROPPED = "%(count)d lines were dropped here: standard error was not read."
# A pipe that is reported as ready takes at least so many bytes without waiting.
CHUNK_BYTES = getattr(select, "PIPE_BUF", 512)


class StderrHandler(logging.Handler):
    """A handler that writes each line at once if there is room, and holds it if there is not.

    A write to a pipe that is not read would wait, and block every channel. So lines are written
    only if the kernel reports room. Up to 256 KiB are held until a later line finds room, or until
    the process ends. Lines beyond that are dropped, and a line says how many. The caller's
    thread writes the line, so that a killed process loses no lines.
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
        except Exception:  # noqa: BLE001 - the edge: a wrong log call must not raise in its caller
            self.handleError(record)
            return
        self._write()
        self._hold(line)
        self._write()

    def flush(self) -> None:
        with self._locked():
            self._write()

    def close(self) -> None:
        """Write the held lines as long as they are read."""
        with self._locked():
            self._write(LAST_WAIT_MS)
            if self._dropped:
                self._report_dropped()
                self._write(LAST_WAIT_MS)
        super().close()

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self.acquire()
        try:
            yield
        finally:
            self.release()

    def _hold(self, line: str) -> None:
        data = self._encoded(line)
        if self._dropped and self._held_bytes < HELD_LIMIT_BYTES // 2:
            self._report_dropped()
        if self._dropped or (self._held and self._held_bytes + len(data) > HELD_LIMIT_BYTES):
            self._dropped += 1
            return
        self._held.append(data)
        self._held_bytes += len(data)

    def _report_dropped(self) -> None:
        fields = {"name": "rosey_llm.log", "levelno": logging.WARNING, "levelname": "WARNING"}
        dropped = {"event": "log.dropped", "count": self._dropped}
        record = logging.makeLogRecord(fields | {"msg": DROPPED, "args": dropped})
        self._dropped = 0
        self._hold(self.format(record))

    def _encoded(self, line: str) -> bytes:
        return f"{line}\n".encode(self._encoding, "backslashreplace")

    def _write(self, wait_ms: int = 0) -> None:
        while self._held and self._has_room(wait_ms):
            data = self._held.popleft()
            try:
                written = os.write(self._descriptor, data[:CHUNK_BYTES])
            except BlockingIOError:  # another process has just filled it
                written = 0
            except OSError:  # the reader has closed it
                self._held.clear()
                self._held_bytes = 0
                return
            self._held_bytes -= written
            if written < len(data):
                self._held.appendleft(data[written:])

    def _has_room(self, wait_ms: int) -> bool:
        return self._poll is None or bool(self._poll.poll(wait_ms))
