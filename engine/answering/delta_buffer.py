"""The buffer that sends a growing answer: a delta at each interval, numbered without gaps."""

from __future__ import annotations

import asyncio

from engine.commands.outcomes import Action, Delta, OutcomeSink
from engine.commands.request import Request
from storage.replies import first_correlation

MAX_DELTA_BYTES = 64 * 1024


class DeltaBuffer:
    """A buffer that gathers the model's text and sends it as deltas every `interval_s` seconds.

    first_s: how long it holds the first one.
    """

    def __init__(
        self, sink: OutcomeSink, request: Request, action: Action, interval_s: float, first_s: float
    ) -> None:
        self._sink = sink
        self._request = request
        self._action = action
        self._correlation_id = first_correlation(request.replies)
        self._interval_s = interval_s
        self._first_s = first_s
        self._held: list[str] = []
        self._index = 0
        self._closed = False
        self._timer: asyncio.TimerHandle | None = None

    def add(self, text: str) -> None:
        if not text or self._closed:
            return
        self._held.append(text)
        if self._timer is None:
            loop = asyncio.get_running_loop()
            delay_s = self._interval_s if self._index else self._first_s
            self._timer = loop.call_later(delay_s, self._flush)

    def finish(self) -> None:
        """Send the rest of the text and the end, and close: the answer is complete."""
        if not self._closed:
            self._flush()
            self.end()

    def end(self) -> None:
        """Send the end of what was begun, without the text that is held, and close.

        Without a connection the end is not sent; the outcome says the same.
        """
        if not self._closed and self._index:
            self._send("", done=True)
        self.close()

    def close(self) -> None:
        """Send nothing more, and ignore later text: this attempt is over."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _flush(self) -> None:
        self._timer = None
        text = "".join(self._held)
        while text:
            # A piece that cannot be sent stays in the buffer, so that the numbers have no gap.
            piece = text.encode()[:MAX_DELTA_BYTES].decode(errors="ignore")
            if not self._send(piece):
                break
            text = text[len(piece) :]
        self._held = [text] if text else []

    def _send(self, piece: str, *, done: bool = False) -> bool:
        channel_id, request_id, username, *_ = self._request
        correlation_id, action = self._correlation_id, self._action
        delta = Delta(
            channel_id, request_id, self._index, piece, username, action, done, correlation_id
        )
        sent = self._sink.delta(delta)
        self._index += sent
        return sent
