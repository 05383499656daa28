"""`rosey-llm reload`: make the running service reload its configuration."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from engine.cli.startup import EXIT_CANNOT_START, config_file, config_option


@click.command(short_help="Make the running service reload its configuration.")
@config_option
def reload(config: Path | None) -> None:
    """Make the running service reload its configuration, without losing a message.

    The command finds the service by the database that the configuration names. The service reads
    the file that it was started with. If anything in that file is wrong, nothing changes.

    Exit codes: 0 reloaded, 1 refused or no service runs, 3 the database cannot be used.
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
