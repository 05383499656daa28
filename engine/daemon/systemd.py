"""What systemd is told about the service (sd_notify): ready, reloading, stopping, still alive."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import Self

log = logging.getLogger("rosey_llm.systemd")
SEND_S = 0.5


class Systemd:
    """Says nothing where nobody listens. Nothing here raises: the service is worth more than this.

    address: a socket's path, "@name" for an abstract one, or "" for none.
    watchdog_s: how long systemd waits for a sign of life; None where it does not.
    """

    def __init__(self, address: str = "", watchdog_s: float | None = None) -> None:
        if address and address[0] not in "/@":
            log.warning("Systemd cannot be told anything at %r.", address)
            address = ""
        self._address = address
        self._watchdog_s = watchdog_s if address else None

    @classmethod
    def from_environment(cls, environment: MutableMapping[str, str] = os.environ) -> Self:
        """Takes the variables out: child processes must not speak for the service."""
        address = environment.pop("NOTIFY_SOCKET", "")
        watchdog_us = environment.pop("WATCHDOG_USEC", "")
        pid = environment.pop("WATCHDOG_PID", "") or str(os.getpid())
        watched = watchdog_us.isdecimal() and int(watchdog_us) > 0 and pid == str(os.getpid())
        return cls(address, int(watchdog_us) / 1_000_000 if watched else None)

    def status(self, text: str) -> None:
        """One line for `systemctl status`."""
        self._tell(_status(text))

    def ready(self, text: str) -> None:
        self._tell("READY=1", _status(text))

    def stopping(self, text: str) -> None:
        self._tell("STOPPING=1", _status(text))

    @contextmanager
    def reloading(self) -> Iterator[None]:
        """Around a reload, whether it goes well or not: the service runs on either way."""
        now_us = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._tell("RELOADING=1", f"MONOTONIC_USEC={now_us}")
        try:
            yield
        finally:
            self._tell("READY=1")

    async def keep_alive(self) -> None:
        """A sign of life twice in the time that systemd waits; it fails to come if the loop hangs.

        Returns at once where systemd does not wait for any, else it ends when it is cancelled.
        """
        while self._watchdog_s is not None:
            self._tell("WATCHDOG=1")
            await asyncio.sleep(self._watchdog_s / 2)

    def _tell(self, *lines: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.settimeout(SEND_S)
                abstract = self._address.startswith("@")
                sender.sendto(
                    "\n".join(lines).encode(),
                    f"\0{self._address[1:]}" if abstract else self._address,
                )
        except OSError as exc:
            log.warning("Systemd could not be told %s: %s", lines[0], exc)


def _status(text: str) -> str:
    return f"STATUS={' '.join(text.split())}"
