"""Runs the service as a process: starts it, waits for a signal, drains it."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from engine.app import App, build_app
from engine.client.address import without_login
from engine.config import config_notes
from engine.config.settings import Settings
from engine.daemon.systemd import Systemd
from engine.errors import EXIT_INTERRUPTED
from engine.operations.reload import Reloader

log = logging.getLogger("rosey_llm.config")


async def run(
    settings: Settings,
    say: Callable[[str], None],
    config: Path | None = None,
    *,
    second: bool = False,
) -> None:
    """Run until SIGTERM or SIGINT, then drain. A second signal ends the process at once.

    SIGHUP reloads `config`. The caller blocks SIGHUP before, and it is blocked on return, so that
    a SIGHUP never ends the process.

    say: prints one line for people. second: start also beside another engine.
    """
    for note in config_notes.notes(settings):
        log.info(
            "%(path)s: %(note)s.",
            {"event": "config.noted", "path": config or "The configuration", "note": note},
        )
    systemd = Systemd.from_environment()
    systemd.status(f"Starting: NATS {without_login(settings.nats.url)}")
    app = build_app(settings, config, second=second)
    app.reloader.announced = systemd.reloading
    stopping = asyncio.Event()
    _on_signals(stopping, app.reloader)
    watchdog = asyncio.create_task(systemd.keep_alive(), name="watchdog")
    try:
        if await _start(app, stopping):
            await _serve(app, settings, stopping, say, systemd)
    finally:
        watchdog.cancel()
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})


async def _serve(
    app: App,
    settings: Settings,
    stopping: asyncio.Event,
    say: Callable[[str], None],
    systemd: Systemd,
) -> None:
    _freeze_garbage_collector()
    if await _hears(app, settings, stopping, say, systemd):
        _announce(app, settings, say, systemd)
    await stopping.wait()
    systemd.stopping("Draining")
    with contextlib.suppress(OSError):  # the terminal may be closed
        say(f"{settings.name} is draining; a second signal ends it at once.")
    await app.drain()


async def _hears(
    app: App,
    settings: Settings,
    stopping: asyncio.Event,
    say: Callable[[str], None],
    systemd: Systemd,
) -> bool:
    """Wait until the engine hears messages; return False if a signal came first."""
    if (problem := app.unheard) is None:
        return True
    say(f"{settings.name} is running, but not ready. {problem}")
    systemd.status(f"Not ready. {problem}")
    waiting = [asyncio.create_task(app.hears()), asyncio.create_task(stopping.wait())]
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    for task in waiting:
        task.cancel()
    return not stopping.is_set()


def _announce(app: App, settings: Settings, say: Callable[[str], None], systemd: Systemd) -> None:
    login = f"its login for bots in {app.bot_url_file}, " if app.bot_url_file is not None else ""
    description = (
        f"NATS {without_login(app.url)}, {login}"
        f"provider {' then '.join(settings.provider_names)}, database {settings.storage.path}"
    )
    if app.http_url is not None:
        description += f", health and metrics {app.http_url}"
    say(f"{settings.name} is ready: {description}")
    systemd.ready(f"Ready: {description}")


async def _start(app: App, stopping: asyncio.Event) -> bool:
    """Start; return False if a signal came first."""
    starting = asyncio.create_task(app.start())
    stop = asyncio.create_task(stopping.wait())
    await asyncio.wait({starting, stop}, return_when=asyncio.FIRST_COMPLETED)
    stop.cancel()
    if not starting.done():
        starting.cancel()
        await asyncio.wait({starting})
        return False
    await starting
    return True


def _freeze_garbage_collector() -> None:
    """Exclude all present objects, which live on: scanning them took a fifth of the time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 50)


def _on_signals(stopping: asyncio.Event, reloader: Reloader) -> None:
    def on_signal() -> None:
        if stopping.is_set():
            os._exit(EXIT_INTERRUPTED)
        stopping.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    loop.add_signal_handler(signal.SIGHUP, _on_hangup(on_signal, reloader))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})


def _on_hangup(stop: Callable[[], None], reloader: Reloader) -> Callable[[], None]:
    """Return the SIGHUP handler: it reloads, or stops if the service's terminal was closed."""
    had_terminal = _has_terminal()

    def on_hangup() -> None:
        if had_terminal and not _has_terminal():
            stop()
        else:
            reloader.ask()

    return on_hangup


def _has_terminal() -> bool:
    try:
        return os.isatty(sys.stdin.fileno())
    except (AttributeError, OSError, ValueError):  # there is no stdin
        return False
