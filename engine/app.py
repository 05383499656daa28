"""The service: everything built from settings, run until a signal, drained in order."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

from engine.engine import Engine
from engine.errors import AlreadyRunning, CannotStart
from engine.settings import Settings
from engine.traffic.client import without_login
from engine.traffic.connection import Connection
from engine.traffic.embedded import EmbeddedNats, EmbeddedNatsError, StoreInUse
from engine.traffic.listener import Listener
from engine.traffic.publisher import Publisher
from providers import table
from storage.errors import DatabaseInUse, StorageError

log = logging.getLogger("rosey_llm.app")
EXIT_FORCED = 130
LAST_WORDS_S = 0.05


class App:
    """The engine with its way in and out: `start`, then `drain`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        nats, subjects = settings.nats, settings.nats.subjects
        self._embedded: EmbeddedNats | None = None
        user = password = ""
        if nats.url == "embedded":
            self._embedded = EmbeddedNats(
                Path(nats.store_dir),
                nats.port,
                bot_publish=[subjects.chat, subjects.request],
                bot_subscribe=[subjects.response, subjects.error, subjects.stream],
            )
            user, password = self._embedded.engine_user, self._embedded.engine_password
        self._connection = Connection(
            nats,
            nats.url,
            [subjects.chat, subjects.request],
            lambda msg: self._listener.on_msg(msg),
            user=user,
            password=password,
        )
        self._publisher = Publisher(self._connection, subjects)
        self._engine = Engine(
            [table.build(name, settings.provider_table(name)) for name in settings.provider_names],
            settings,
            Path(settings.storage.path),
            self._publisher,
        )
        self._publisher.connect(self._engine.database)
        self._listener = Listener(
            self._engine.supervisor, self._publisher, subjects, settings.conversation
        )
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def url(self) -> str:
        """Where NATS is."""
        return self._connection.url

    async def start(self) -> None:
        """Returns once messages are taken; waits for NATS if need be.

        Raises CannotStart with what to do, AlreadyRunning where another service has the files.
        """
        try:
            await self._start_in_order()
        except (DatabaseInUse, StoreInUse) as exc:
            await self.drain()
            raise AlreadyRunning(str(exc)) from exc
        except (StorageError, EmbeddedNatsError, OSError) as exc:
            await self.drain()
            raise CannotStart(str(exc)) from exc
        except BaseException:
            await self.drain()
            raise

    async def _start_in_order(self) -> None:
        await self._engine.start()
        if self._embedded is not None:
            await self._embedded.start()
            self._tasks.append(asyncio.create_task(self._embedded.keep_running()))
            self._connection.url = self._embedded.url
            # So that `rosey-llm chat` finds a running service on whatever port was free.
            url_file(self._settings).touch(mode=0o600)
            url_file(self._settings).write_text(self._embedded.url)
        self._connection.start()
        self._tasks.append(asyncio.create_task(self._publisher.run(), name="publisher"))
        await self._engine.resume()
        await self._connection.take_in()

    async def drain(self) -> None:
        """Take nothing more, finish what runs, send what is committed, free everything.

        What fails on the way is logged; the rest is freed all the same.
        """
        async with AsyncExitStack() as steps:  # from the last to the first
            if self._embedded is not None:
                steps.push_async_callback(_logged, self._embedded.stop)
            steps.push_async_callback(_logged, self._engine.aclose)
            steps.push_async_callback(_logged, self._connection.close)
            steps.push_async_callback(_logged, self._end_tasks)
            steps.push_async_callback(_logged, self._say_the_rest)
            steps.push_async_callback(_logged, self._engine.drain)
            steps.push_async_callback(_logged, self._connection.stop_intake)

    async def _say_the_rest(self) -> None:
        if self._connection.connected.is_set():
            await self._publisher.flush(self._settings.service.drain_timeout_s)
            if self._embedded is not None:
                # The server cuts its clients off without waiting until they have read everything.
                await asyncio.sleep(LAST_WORDS_S)

    async def _end_tasks(self) -> None:
        for task in self._tasks:
            task.cancel()
        for result in await asyncio.gather(*self._tasks, return_exceptions=True):
            if isinstance(result, Exception):
                log.error("A background task had ended: %r", result)


async def _logged(step: Callable[[], Awaitable[None]]) -> None:
    try:
        await step()
    except Exception:  # whatever it is, the steps after it must be taken
        log.exception("A step of the drain failed.")


def url_file(settings: Settings) -> Path:
    """Where a service with an embedded NATS server says how to reach it."""
    return Path(settings.nats.store_dir) / "url"


async def run(settings: Settings, say: Callable[[str], None]) -> None:
    """Run until SIGTERM or SIGINT, then drain. A second signal ends the process at once."""
    app = App(settings)
    stopping = asyncio.Event()
    _on_signals(stopping)
    if not await _started(app, stopping):
        return
    _calm_the_collector()
    say(
        f"{settings.name} is ready: NATS {without_login(app.url)}, "
        f"provider {' then '.join(settings.provider_names)}, database {settings.storage.path}"
    )
    await stopping.wait()
    say(f"{settings.name} is draining; a second signal ends it at once.")
    await app.drain()


async def _started(app: App, stopping: asyncio.Event) -> bool:
    """Start; False where a signal came first."""
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


def _calm_the_collector() -> None:
    """What was made until now stays; to look through it over and over takes a fifth of the time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 50)


def _on_signals(stopping: asyncio.Event) -> None:
    def on_signal() -> None:
        if stopping.is_set():
            os._exit(EXIT_FORCED)
        stopping.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
