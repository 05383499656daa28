"""`rosey-llm audit`: serve the audit page for a web browser."""

from __future__ import annotations

from pathlib import Path

import click

from engine.cli.say import say
from engine.cli.startup import cannot_start, config_option, load, log_to_stderr


@click.command(short_help="Browse stored conversations in a web browser.")
@config_option
@click.option(
    "--database",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Database file, or a copy of one; by default the configuration's.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    help="Port on 127.0.0.1; by default 8001 or the next free one.",
)
@click.option("--open", "open_browser", is_flag=True, help="Open the page in the browser.")
@click.option(
    "--key-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help='Write the key for programs there: curl -H "Authorization: Bearer $(cat FILE)" ...',
)
def audit(
    config: Path | None,
    database: Path | None,
    port: int | None,
    open_browser: bool,
    key_file: Path | None,
) -> None:
    """Browse channels, conversations and turns in a web browser, also while the service runs.

    The page is read-only and can be reached from this machine only, by the browser that opens
    the printed address first. It needs the extra `audit`.
    """
    # A database that was named may be of another service, with other rules.
    settings = load(config) if database is None or config is not None else None
    path = database or Path((settings or load(config)).storage.path)
    log_to_stderr("warning", "%(message)s")

    from engine.errors import CannotStart
    from storage.errors import CannotOpen
    from storage.queries.reader import open_reader

    try:
        open_reader(path).close()
    except CannotOpen as exc:
        cannot_start(exc)
    try:
        from engine.interfaces.audit import server
    except ModuleNotFoundError as exc:
        if (exc.name or "").startswith(("engine", "storage", "providers")):
            raise
        from providers.installation import install_command

        cannot_start(CannotStart(f"The audit page needs Datasette: {install_command('audit')}"))
    try:
        server.serve(path, port, open_browser, say, settings, key_file)
    except CannotStart as exc:
        cannot_start(exc)
