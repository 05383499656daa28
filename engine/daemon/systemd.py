"""Notifies systemd (sd_notify) that the service is ready, reloading, stopping or still alive."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import Self

from engine.monitoring.event import one_line

log = logging.getLogger("rosey_llm.systemd")
SEND_S = 0.5


class Systemd:
    """Sends notifications to systemd, if there is one. No method raises; failures are logged.

    address: a socket's path, "@name" for an abstract socket, or "" for none.
    watchdog_s: systemd ends the service after this long without a notification; None: never.
    """

    def __init__(self, address: str = "", watchdog_s: float | None = None) -> None:
        if address and address[0] not in "/@":
            log.warning(
                "Cannot notify systemd at %(path)r: expected an absolute path, or @name.",
                {"event": "systemd.address_invalid", "path": address},
            )
            address = ""
        self._address = address
        self._watchdog_s = watchdog_s if address else None

    @classmethod
    def from_environment(cls, environment: MutableMapping[str, str] = os.environ) -> Self:
        """Remove the variables: child processes must not notify systemd."""
        address = environment.pop("NOTIFY_SOCKET", "")
        watchdog_us = environment.pop("WATCHDOG_USEC", "")
        pid = environment.pop("WATCHDOG_PID", "") or str(os.getpid())
        watched = watchdog_us.isdecimal() and int(watchdog_us) > 0 and pid == str(os.getpid())
        return cls(address, int(watchdog_us) / 1_000_000 if watched else None)

    def status(self, text: str) -> None:
        """Set the status line that `systemctl status` shows."""
        self._notify(_status_line(text))

    def ready(self, text: str) -> None:
        self._notify("READY=1", _status_line(text))

    def stopping(self, text: str) -> None:
        self._notify("STOPPING=1", _status_line(text))

    @contextmanager
    def reloading(self) -> Iterator[None]:
        """Report a reload, then ready again: the service also runs on after a failed reload."""
        now_us = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._notify("RELOADING=1", f"MONOTONIC_USEC={now_us}")
        try:
            yield
        finally:
            self._notify("READY=1")

    async def keep_alive(self) -> None:
        """Notify the watchdog twice per `watchdog_s`; a hanging event loop makes this stop.

        Returns at once without a watchdog; otherwise runs until cancelled.
        """
        while self._watchdog_s is not None:
            self._notify("WATCHDOG=1")
            await asyncio.sleep(self._watchdog_s / 2)

    def _notify(self, *lines: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.settimeout(SEND_S)
                abstract = self._address.startswith("@")
                sender.sendto(
                    "\n".join(map(one_line, lines)).encode(),
                    f"\0{self._address[1:]}" if abstract else self._address,
                )
        except OSError as exc:
            log.warning(
                "Cannot notify systemd of %(state)s: %(error)s",
                {"event": "systemd.notify_failed", "state": lines[0], "error": exc},
            )


def _status_line(text: str) -> str:
    return f"STATUS={' '.join(text.split())}"
