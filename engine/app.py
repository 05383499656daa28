"""The whole service: builds all parts from the settings, starts and drains them in order."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from engine.actors.local_ledger import LocalLedger
from engine.api.inspection import Inspection
from engine.client.credentials import LoginError
from engine.commands.observer import Observers
from engine.config import changes
from engine.config.changes import Changes
from engine.config.loading import DEFAULT_FILE
from engine.config.settings import Settings
from engine.engine import Engine
from engine.errors import AlreadyRunning, CannotStart
from engine.monitoring import logs, tracing
from engine.monitoring.counts import Counts
from engine.monitoring.micro_stats import micro_stats
from engine.monitoring.nats_health import nats_health
from engine.monitoring.observation import TrafficStatistics
from engine.monitoring.pages import MonitoringPages
from engine.monitoring.turn_log import TurnLog
from engine.operations import reload
from engine.operations.background_tasks import BackgroundTasks
from engine.operations.reload import Reloader
from engine.operations.reservation import reserve
from engine.texts.texts import Texts
from engine.traffic import micro_service
from engine.traffic.connection import NatsConnection
from engine.traffic.embedded import url_file
from engine.traffic.embedded.configured_server import configured_server
from engine.traffic.embedded.server import EmbeddedNats, EmbeddedNatsError, StoreInUse
from engine.traffic.endpoint_stats import EndpointStats
from engine.traffic.listener import Listener
from engine.traffic.login import check_tls
from engine.traffic.micro_service import MicroService
from engine.traffic.other_engines import OtherEngines
from engine.traffic.publisher import Publisher
from engine.traffic.status_reports import StatusReports
from storage.errors import DatabaseInUse, StorageError
from storage.writer.database import Database

log = logging.getLogger("rosey_llm.app")
CLIENTS_READ_S = 0.05
ALONE_LIMIT_S = 5.0


def build_app(
    settings: Settings,
    config: Path | None = None,
    *,
    second: bool = False,
    beside_nats: bool = False,
) -> App:
    """Build the service from its settings; nothing starts yet.

    config: the file that the settings come from; None if there was none.
    second: start also if another engine hears the same subjects.
    beside_nats: start the embedded server also if another NATS server has its port, on the next.
    """
    subjects = settings.nats.subjects
    counts, turn_log = Counts(), TurnLog(shows_content=settings.log.content)
    observers = Observers([counts, turn_log])
    database = Database(
        Path(settings.storage.path),
        settings.storage.durability,
        backup_before_migration=settings.storage.backup_before_migration,
        on_commit=observers.committed,
    )
    ledger, texts = LocalLedger(database), Texts()
    embedded = None
    if settings.nats.url == "embedded":
        embedded = configured_server(settings.nats, beside_nats=beside_nats)
    user, password = (embedded.engine_user, embedded.engine_password) if embedded else ("", "")
    connection = NatsConnection(settings.nats, settings.nats.url, user=user, password=password)
    publisher = Publisher(connection, subjects, ledger, texts)
    observers.add(StatusReports(publisher))
    endpoint_stats = EndpointStats(publisher, subjects)
    reloader = Reloader(config, Path(DEFAULT_FILE))
    handlers = {reload.REQUEST_KIND: reloader.carry_out}
    engine = Engine(
        database,
        ledger,
        settings.new_providers(),
        settings,
        endpoint_stats,
        observers,
        handlers,
        texts=texts,
    )
    listener = Listener(
        engine.supervisor,
        endpoint_stats,
        observers,
        texts,
        settings.nats,
        settings.conversation,
        settings.channels,
    )
    connection.add_intake(listener.subjects, listener.on_msg)
    service = MicroService(
        connection,
        endpoint_stats,
        subjects,
        settings.name,
        lambda: micro_stats(engine.supervisor.statistics(), counts),
        micro_service.database_mark(Path(settings.storage.path)),
        second=second,
    )
    connection.add_service(service.subjects, service.on_msg)
    others = None
    if embedded is None and not second:  # the embedded server lets in no other engine
        others = OtherEngines(connection, service, subjects, settings.service.drain_timeout_s)
    monitoring = MonitoringPages(
        settings,
        engine,
        counts,
        lambda: nats_health(connection),
        lambda: TrafficStatistics(
            connection.statistics(), publisher.statistics(), listener.received
        ),
    )
    return App(
        settings,
        engine,
        connection,
        publisher,
        listener,
        service,
        others,
        monitoring,
        reloader,
        observers,
        turn_log,
        embedded,
    )


@dataclass(frozen=True, slots=True)
class AppInspection(Inspection):
    """The parts of a running service at one moment, for tests and for debugging.

    connection: to NATS; its `client` is nats-py's.
    embedded: the embedded NATS server with its `pid`; None if the service uses another server.
    background: the tasks beside the turns; the engine has others of its own.
    """

    connection: NatsConnection
    embedded: EmbeddedNats | None
    background: BackgroundTasks


class App:
    """The service: engine, NATS, monitoring pages and reloads; `rosey-llm chat` runs one, too.

    `build_app` makes one from settings. reloader: applies a changed configuration to it.
    """

    def __init__(
        self,
        settings: Settings,
        engine: Engine,
        connection: NatsConnection,
        publisher: Publisher,
        listener: Listener,
        service: MicroService,
        others: OtherEngines | None,
        monitoring: MonitoringPages,
        reloader: Reloader,
        observers: Observers,
        turn_log: TurnLog,
        embedded: EmbeddedNats | None,
    ) -> None:
        self.reloader = reloader
        reloader.apply = self.apply
        self._settings = settings
        self._engine = engine
        self._connection = connection
        self._publisher = publisher
        self._listener = listener
        self._service = service
        self._others = others
        self._monitoring = monitoring
        self._observers = observers
        self._turn_log = turn_log
        self._embedded = embedded
        self._background = BackgroundTasks()

    @property
    def url(self) -> str:
        """The address of NATS; that of the embedded server is without a login."""
        return self._connection.url

    @property
    def bot_url_file(self) -> Path | None:
        """The file with the embedded server's address and a login; None with another server."""
        return url_file.path_in(self._embedded.store_dir) if self._embedded is not None else None

    @property
    def unheard(self) -> str | None:
        """Why NATS lets the engine hear no messages, and what to do; None if it hears them."""
        return None if self._connection.hearing.is_set() else self._connection.refused

    async def hears(self) -> None:
        """Return once the engine hears messages on all its subjects."""
        await self._connection.hearing.wait()

    @property
    def http_url(self) -> str | None:
        """The address of the monitoring pages; None if they are disabled or could not start."""
        return self._monitoring.url

    def inspect(self) -> AppInspection:
        """Return the service's parts, for tests and debugging; they may change in any version."""
        return AppInspection(self._engine, self._connection, self._embedded, self._background)

    async def start(self) -> None:
        """Start all parts; return when messages are taken. Waits for NATS if it is down.

        Raises CannotStart with what to do: AlreadyRunning if another service uses the files,
        SecondEngine if another engine hears the same subjects.
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
        await reserve(self._engine.database, self._settings.service.drain_timeout_s)
        await self._monitoring.start()
        await self._engine.start()
        tracing.begin(self._settings.tracing, self._settings.name, self._observers)
        if self._embedded is not None:
            await self._embedded.start()
            self._background.keep("embedded NATS", self._embedded.keep_running)
            self._background.keep("NATS refusals", self._embedded.report_refusals)
            self._connection.url = self._embedded.url
        self._connection.start()
        alone = asyncio.create_task(self._is_alone())
        try:
            # NATS may be down for long: meanwhile the engine works on what it has.
            await asyncio.wait({alone}, timeout=ALONE_LIMIT_S)
            if alone.done():
                await alone
            self._background.keep("publisher", self._publisher.run)
            await self._engine.resume()
            await alone
        finally:
            alone.cancel()
        await self._connection.start_intake()
        if self._others is not None:
            await self._others.confirm()
            self._background.keep("other engines", self._others.watch)
        self._service.state = "running"
        self._monitoring.enter("running")
        self._background.keep("reload", self.reloader.run)

    async def _is_alone(self) -> None:
        if self._others is not None:
            await self._others.require_none()

    def apply(self, read: Settings) -> Changes:
        """Apply a changed configuration; no message is dropped, and running turns are not affected.

        Raises ValidationError if it cannot be applied, and changes nothing.
        """
        settings, before = changes.applied(self._settings, read), self._engine.providers
        self._engine.apply(settings, settings.new_providers())
        self._listener.set_limits(settings.conversation, settings.channels)
        logs.apply(settings.log)
        self._turn_log.shows_content = settings.log.content
        found = changes.diff(self._settings, read, before, self._engine.providers)
        self._settings = settings
        return found

    async def drain(self) -> None:
        """Take no more messages, finish the running turns, publish their outcomes, free all parts.

        A step that fails is logged; the later steps still run.
        """
        self.reloader.close()
        # First of all: NATS may be slow to answer, and a service that starts is to wait.
        self._engine.database.tell_end()
        self._service.state = "draining"
        self._monitoring.enter("draining")
        async with AsyncExitStack() as steps:  # they run from the last to the first
            steps.push_async_callback(_logged, self._monitoring.stop)
            # The database is freed last: a service that starts waits for it.
            steps.push_async_callback(_logged, self._engine.aclose)
            if self._embedded is not None:
                steps.push_async_callback(_logged, self._embedded.stop)
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
        log.exception("A step of the drain failed.", {"event": "drain.failed"})
