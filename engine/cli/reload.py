"""`rosey-llm reload`: make the running service reload its configuration."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

import click

from engine.cli.say import say
from engine.cli.startup import EXIT_CANNOT_START, config_file, config_option


@click.command(short_help="Make the running service reload its configuration.")
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def reload(config: Path | None, as_json: bool) -> None:
    """Make the running service reload its configuration, without losing a message.

    The command finds the service by the database that the configuration names. The service reads
    the file that it was started with. If anything in that file is wrong, nothing changes.
    --json prints one object: reloaded, and the changes or the error.

    Exit codes: 0 reloaded, 1 refused or no service runs, 3 the database cannot be used.
    """
    from engine.config import loading
    from engine.errors import CannotReload, CannotStart
    from engine.operations import reload
    from storage.errors import CannotOpen

    try:
        changes = reload.ask(loading.database_of(config_file(config)))
    except (CannotReload, CannotStart) as exc:
        _refused(exc, 1, as_json)
    except CannotOpen as exc:
        _refused(exc, EXIT_CANNOT_START, as_json)
    if as_json:
        _print_json({"reloaded": True, **asdict(changes)})
        return
    for line in changes.lines:
        say(line)


def _refused(exc: Exception, code: int, as_json: bool) -> NoReturn:
    if as_json:
        _print_json({"reloaded": False, "error": str(exc)})
    else:
        say(f"Not reloaded: {exc}", err=True)
    sys.exit(code)


def _print_json(record: dict[str, Any]) -> None:
    from engine.interfaces.reports import output

    click.echo(output.json(record))
