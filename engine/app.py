"""The whole service: builds all parts from the settings, starts and drains them in order."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from engine.commands.observer import Observers
from engine.config import changes
from engine.config.changes import Changes
from engine.config.loading import DEFAULT_FILE
from engine.config.settings import Settings
from engine.engine import Engine
from engine.errors import AlreadyRunning, CannotStart
from engine.monitoring import logs, tracing
from engine.monitoring.counts import Counts
from engine.monitoring.health import HealthPart
from engine.monitoring.micro_stats import micro_stats
from engine.monitoring.observation import TrafficStatistics
from engine.monitoring.pages import MonitoringPages
from engine.monitoring.turn_log import TurnLog
from engine.operations import reload
from engine.operations.background_tasks import BackgroundTasks
from engine.operations.reload import Reloader
from engine.traffic import micro_service
from engine.traffic.connection import NatsConnection
from engine.traffic.embedded.server import EmbeddedNats, EmbeddedNatsError, StoreInUse
from engine.traffic.endpoint_stats import EndpointStats
from engine.traffic.listener import Listener
from engine.traffic.login import LoginError, check_tls, without_login
from engine.traffic.micro_service import MicroService
from engine.traffic.publisher import Publisher
from providers import registry
from providers.base import LLMProvider
from storage.errors import DatabaseInUse, StorageError

log = logging.getLogger("rosey_llm.app")
CLIENTS_READ_S = 0.05


class App:
    """The engine with NATS, monitoring pages and reloads. Call `start`, then `drain`.

    config: the file that `settings` come from; None if there was none.
    """

    def __init__(self, settings: Settings, config: Path | None = None) -> None:
        self._settings = settings
        self.reloader = Reloader(config, Path(DEFAULT_FILE), self.apply)
        nats, subjects = settings.nats, settings.nats.subjects
        self._embedded: EmbeddedNats | None = None
        user = password = ""
        if nats.url == "embedded":
            self._embedded = EmbeddedNats(
                Path(nats.store_dir),
                nats.port,
                bot_publish=[subjects.chat, subjects.request, *micro_service.QUESTIONS],
                bot_subscribe=[subjects.response, subjects.error, subjects.stream],
            )
            user, password = self._embedded.engine_user, self._embedded.engine_password
        self._connection = NatsConnection(
            nats,
            nats.url,
            [subjects.chat, subjects.request],
            lambda msg: self._receiver(msg.subject).on_msg(msg),
            user=user,
            password=password,
        )
        self._publisher = Publisher(self._connection, subjects)
        self._endpoint_stats = EndpointStats(self._publisher, subjects)
        self._counts = Counts()
        self._turn_log = TurnLog(shows_content=settings.log.content)
        self._observers = Observers([self._counts, self._turn_log])
        self._engine = Engine(
            _providers(settings),
            settings,
            Path(settings.storage.path),
            self._endpoint_stats,
            self._observers,
            {reload.REQUEST_KIND: self.reloader.carry_out},
        )
        self._publisher.connect(self._engine.database)
        self._listener = Listener(
            self._engine.supervisor,
            self._endpoint_stats,
            self._observers,
            subjects,
            settings.conversation,
        )
        self._micro_service = MicroService(
            self._connection, self._endpoint_stats, subjects, settings.name, self._micro_stats
        )
        self._connection.add_intake(self._micro_service.subjects)
        self._monitoring = MonitoringPages(
            settings, self._engine, self._counts, self._nats_part, self._traffic
        )
        self._background = BackgroundTasks()

    def _nats_part(self) -> HealthPart:
        url = without_login(self._connection.url)
        if self._connection.connected.is_set():
            return HealthPart(True, url)
        return HealthPart(
            False, f"NATS at {url} is not there. Start the server, or set [nats] url."
        )

    def _traffic(self) -> TrafficStatistics:
        return TrafficStatistics(
            self._connection.statistics(),
            self._publisher.statistics(),
            self._listener.received,
        )

    def _micro_stats(self) -> dict[str, Any]:
        return micro_stats(self._engine.supervisor.statistics(), self._counts)

    def _receiver(self, subject: str) -> Listener | MicroService:
        return self._micro_service if subject.startswith(micro_service.PREFIX) else self._listener

    @property
    def url(self) -> str:
        """The address of NATS."""
        return self._connection.url

    @property
    def http_url(self) -> str | None:
        """The address of the monitoring pages; None if they are disabled or could not start."""
        return self._monitoring.url

    async def start(self) -> None:
        """Start all parts; return when messages are taken. Waits for NATS if it is down.

        Raises CannotStart with what to do, AlreadyRunning if another service uses the files.
        """
        try:
            await self._start_in_order()
        except (DatabaseInUse, StoreInUse) as exc:
            await self.drain()
            raise AlreadyRunning(str(exc)) from exc
        except LoginError as exc:
            await self.drain()
            raise CannotStart(f"{exc}. Correct [nats] tls_ca, tls_cert and tls_key.") from exc
        except (StorageError, EmbeddedNatsError, OSError) as exc:
            await self.drain()
            raise CannotStart(str(exc)) from exc
        except BaseException:
            await self.drain()
            raise

    async def _start_in_order(self) -> None:
        check_tls(self._settings.nats)
        self._engine.database.reserve()
        await self._monitoring.start()
        await self._engine.start()
        tracing.begin(self._settings.tracing, self._settings.name, self._observers)
        if self._embedded is not None:
            await self._embedded.start()
            self._background.keep("embedded NATS", self._embedded.keep_running)
            self._connection.url = self._embedded.url
            # So that `rosey-llm chat` finds the service on any port.
            url_file(self._settings).touch(mode=0o600)
            url_file(self._settings).write_text(self._embedded.url)
        self._connection.start()
        self._background.keep("publisher", self._publisher.run)
        await self._engine.resume()
        await self._connection.start_intake()
        self._monitoring.enter("running")
        self._background.keep("reload", self.reloader.run)

    def apply(self, read: Settings) -> Changes:
        """Apply a changed configuration; no message is dropped, and running turns are not affected.

        Raises ValidationError if it cannot be applied, and changes nothing.
        """
        settings, before = changes.applied(self._settings, read), self._engine.chain
        self._engine.apply(settings, _providers(settings))
        self._listener.set_limits(settings.conversation)
        logs.apply(settings.log)
        self._turn_log.shows_content = settings.log.content
        found = changes.diff(self._settings, read, before.providers, self._engine.chain.providers)
        self._settings = settings
        return found

    async def drain(self) -> None:
        """Take no more messages, finish the running turns, publish their outcomes, free all parts.

        A step that fails is logged; the later steps still run.
        """
        self.reloader.close()
        self._monitoring.enter("draining")
        async with AsyncExitStack() as steps:  # they run from the last to the first
            steps.push_async_callback(_logged, self._monitoring.stop)
            if self._embedded is not None:
                steps.push_async_callback(_logged, self._embedded.stop)
            steps.push_async_callback(_logged, self._engine.aclose)
            steps.push_async_callback(_logged, self._connection.close)
            steps.push_async_callback(_logged, self._background.end)
            steps.push_async_callback(_logged, self._publish_rest)
            steps.push_async_callback(_logged, self._engine.drain)
            steps.push_async_callback(_logged, self._connection.stop_intake)

    async def _publish_rest(self) -> None:
        if self._connection.connected.is_set():
            await self._publisher.flush(self._settings.service.drain_timeout_s)
            if self._embedded is not None:
                # The server disconnects its clients even if they have not read everything.
                await asyncio.sleep(CLIENTS_READ_S)


async def _logged(step: Callable[[], Awaitable[None]]) -> None:
    try:
        await step()
    except Exception:  # any failure: the later steps must run
        log.exception("A step of the drain failed.")


def url_file(settings: Settings) -> Path:
    """Return the file with the embedded NATS server's address."""
    return Path(settings.nats.store_dir) / "url"


def _providers(settings: Settings) -> list[LLMProvider]:
    return [registry.build(name, settings.provider_table(name)) for name in settings.provider_names]
