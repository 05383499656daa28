"""`rosey-llm reload`: the running service takes up its changed configuration."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from engine.cli.startup import EXIT_CANNOT_START, config_file, config_option


@click.command(short_help="Have the running service take up its changed configuration.")
@config_option
def reload(config: Path | None) -> None:
    """Have the running service take up its changed configuration, without dropping a message.

    The service is found by the database that the configuration names, and reads the file that it
    was started with. A wrong file is refused as a whole; then the service goes on as it was.

    Exit codes: 0 taken up, 1 refused or no service runs, 3 the database cannot be used.
    """
    from engine.config import loading
    from engine.errors import CannotReload, CannotStart
    from engine.operations import reload
    from storage.errors import CannotOpen

    try:
        changes = reload.ask(loading.database_of(config_file(config)))
    except (CannotReload, CannotStart) as exc:
        click.echo(f"Not reloaded: {exc}", err=True)
        sys.exit(1)
    except CannotOpen as exc:
        click.echo(f"Not reloaded: {exc}", err=True)
        sys.exit(EXIT_CANNOT_START)
    for line in changes.lines:
        click.echo(line)
