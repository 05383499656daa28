"""The server of the audit page: Datasette over one database, read-only, on loopback."""

from __future__ import annotations

import errno
import signal
import socket
import threading
import webbrowser
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import uvicorn
from datasette.app import Datasette
from datasette.database import Database
from datasette.plugins import pm

from engine.config.settings import ChannelSettings, LimitSettings, Settings
from engine.errors import CannotStart
from engine.interfaces.audit import plugin
from engine.interfaces.audit.admission import Admission
from engine.interfaces.audit.private_files import leading_page, private_file
from engine.interfaces.audit.reading import DATABASE
from engine.interfaces.audit.search_worker import SearchWorker
from storage.queries.reader import Reader, open_for_browsing

ADDRESS = "127.0.0.1"
FIRST_PORT = 8001
PORTS = 50
HERE = Path(__file__).parent
# A visitor of this page can read the file with any tool, so allowing SQL reveals nothing more. It
# is read-only, limited in time, and cannot be sent by other sites (request_guard.py).
SETTINGS = {
    "default_allow_sql": True,
    "sql_time_limit_ms": 2_000,
    "facet_time_limit_ms": 500,
    "suggest_facets": False,
    "allow_download": False,  # would not be a consistent copy, as `rosey-llm backup` is
    "allow_csv_stream": False,
    "max_returned_rows": 1_000,
    "default_page_size": 50,
    "default_cache_ttl": 0,
    "num_sql_threads": 4,
}


class History(Database):  # type: ignore[misc]
    """A Datasette database whose connections are read-only."""

    def __init__(self, datasette: Datasette, path: Path) -> None:
        super().__init__(datasette, path=str(path), is_mutable=True)
        self._connections: list[Reader] = []

    def connect(self, write: bool = False) -> Reader:
        if write:
            raise PermissionError("The audit page is read-only.")
        connection = open_for_browsing(Path(self.path))
        self._connections.append(connection)
        return connection

    def close(self) -> None:
        for connection in self._connections:
            connection.close()

    async def execute(self, sql: str, *arguments: Any, **options: Any) -> Any:
        """Execute SQL; show errors of a visitor's SQL on the page only, not in the terminal."""
        return await super().execute(sql, *arguments, **options | {"log_sql_errors": False})


def serve(
    database: Path,
    port: int | None,
    open_browser: bool,
    announce: Callable[[str], None],
    settings: Settings | None,
    key_file: Path | None = None,
) -> None:
    """Serve the page until SIGINT or SIGTERM. Raise CannotStart.

    - `announce`: gets the line with the address that opens the page once
    - `settings`: have the channels' rules and the time zone of usage; None for a database whose
      configuration is not known
    - `key_file`: gets the key for programs; it is removed at the end
    """
    admission = Admission()
    with listening(port) as listener, private_file(key_file, admission.key + "\n"):
        url = f"http://{ADDRESS}:{listener.getsockname()[1]}/"
        server = uvicorn.Server(
            uvicorn.Config(
                build(database, admission, settings).app(),
                log_level="error",  # invalid requests are not worth a warning
                access_log=False,
                lifespan="on",
                ws="none",
                server_header=False,
                timeout_graceful_shutdown=2,
            )
        )
        # For the time before uvicorn handles signals; it raises them again after its end.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: setattr(server, "should_exit", True))
        address = admission.address(url)
        announce(
            f"The audit page of {database} is at {address} (it opens once; Ctrl-C ends the page)"
        )
        with leading_page(address) if open_browser else nullcontext() as leading:
            if leading is not None:
                # In a thread: with some browsers, the call returns only when they are closed.
                threading.Thread(target=webbrowser.open, args=(leading,), daemon=True).start()
            server.run(sockets=[listener])


def build(database: Path, admission: Admission, settings: Settings | None = None) -> Datasette:
    """Build a Datasette with our pages. Its plugins are registered once per process."""
    pm.unregister(name="datasette.handle_exception")  # prints a traceback for each unknown address
    if not pm.is_registered(plugin):
        pm.register(plugin, name="rosey-llm")
    datasette = Datasette(
        [],
        settings=SETTINGS,
        template_dir=str(HERE / "templates"),
        static_mounts=[("audit-static", str(HERE / "static"))],
    )
    datasette.remove_database("_memory")
    datasette.add_database(History(datasette, database), name=DATABASE)
    datasette.finder = SearchWorker(database)
    datasette.admission = admission
    datasette.rules = settings.channels if settings is not None else ChannelSettings()
    limits = settings.limits if settings is not None else LimitSettings()
    datasette.timezone = limits.timezone
    return datasette


def listening(port: int | None) -> socket.socket:
    """Listen on this port of the loopback address, or on 8001 or the next free one.

    Raises CannotStart if no such port is free.
    """
    candidates = range(FIRST_PORT, FIRST_PORT + PORTS) if port is None else (port,)
    for candidate in candidates:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((ADDRESS, candidate))
            listener.listen(128)
        except OSError as exc:
            listener.close()
            if exc.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise
        else:
            return listener
    if port is None:
        raise CannotStart(f"No port from {FIRST_PORT} on is free. Choose one with --port.")
    raise CannotStart(f"Cannot use port {port}. Choose another with --port, or leave it out.")
