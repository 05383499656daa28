"""The audit page's own process: Datasette over one database, on loopback, for reading."""

from __future__ import annotations

import errno
import signal
import socket
import threading
import webbrowser
from collections.abc import Callable
from pathlib import Path
from typing import Any

import uvicorn
from datasette.app import Datasette
from datasette.database import Database
from datasette.plugins import pm

from engine.errors import CannotStart
from engine.interfaces.audit import plugin
from engine.interfaces.audit.reading import DATABASE
from engine.interfaces.audit.search_worker import SearchWorker
from storage.queries.reader import Reader, open_for_browsing

ADDRESS = "127.0.0.1"
FIRST_PORT = 8001
PORTS = 50
HERE = Path(__file__).parent
# Whoever can open this page can read the file with any tool, so SQL of one's own gives away
# nothing; it is read-only, limited in time, and no other site can send it (guard.py).
SETTINGS = {
    "default_allow_sql": True,
    "sql_time_limit_ms": 2_000,
    "facet_time_limit_ms": 500,
    "suggest_facets": False,
    "allow_download": False,  # `rosey-llm backup` gives a consistent copy, this would not
    "allow_csv_stream": False,
    "max_returned_rows": 1_000,
    "default_page_size": 50,
    "default_cache_ttl": 0,
    "num_sql_threads": 4,
}


class History(Database):  # type: ignore[misc]
    """The database, opened as every operator's tool opens it: by a connection that cannot write."""

    def __init__(self, datasette: Datasette, path: Path) -> None:
        super().__init__(datasette, path=str(path), is_mutable=True)
        self._connections: list[Reader] = []

    def connect(self, write: bool = False) -> Reader:
        if write:
            raise PermissionError("The audit page does not write.")
        connection = open_for_browsing(Path(self.path))
        self._connections.append(connection)
        return connection

    def close(self) -> None:
        for connection in self._connections:
            connection.close()

    async def execute(self, sql: str, *arguments: Any, **options: Any) -> Any:
        """What is wrong with SQL of one's own stands on the page, and not in the terminal, too."""
        return await super().execute(sql, *arguments, **options | {"log_sql_errors": False})


def serve(database: Path, port: int | None, open_browser: bool, say: Callable[[str], None]) -> None:
    """Until SIGINT or SIGTERM. Raises CannotStart with what to do."""
    with listening(port) as listener:
        url = f"http://{ADDRESS}:{listener.getsockname()[1]}/"
        server = uvicorn.Server(
            uvicorn.Config(
                build(database).app(),
                log_level="error",  # that somebody sends nonsense is no news
                access_log=False,
                lifespan="on",
                ws="none",
                server_header=False,
                timeout_graceful_shutdown=2,
            )
        )
        # Also before uvicorn listens to signals itself; it raises them anew when it has ended.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: setattr(server, "should_exit", True))
        say(f"The audit page of {database} is at {url} (Ctrl-C ends it)")
        if open_browser:
            # Some browsers come back only when they are closed.
            threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()
        server.run(sockets=[listener])


def build(database: Path) -> Datasette:
    """A Datasette with our pages. Datasette keeps its plugins for the process, and so do we."""
    pm.unregister(name="datasette.handle_exception")  # it prints a trace for each wrong address
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
    return datasette


def listening(port: int | None) -> socket.socket:
    """A socket on loopback: on this port, or on 8001 or the next free one."""
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
        raise CannotStart(f"No port from {FIRST_PORT} on is free; name one with --port.")
    raise CannotStart(f"Port {port} cannot be used; name another with --port, or leave it out.")
