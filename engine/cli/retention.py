"""`rosey-llm retention confirm`: erase by age although the clock has leapt."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from engine.cli.say import say
from engine.cli.startup import EXIT_CANNOT_START, config_file, config_option


@click.group()
def retention() -> None:
    """Confirm the time by which old messages are erased."""


@retention.command(short_help="Erase what is too old, although the clock has leapt.")
@config_option
def confirm(config: Path | None) -> None:
    """Erase what is too old by the clock as it stands now.

    After a leap of the clock by more than seven days, or if the service did not run for so long,
    nothing is erased by age until you confirm that the clock is right. The running service erases
    at once; without one, its next start does.

    Exit codes: 0 erased, or noted for the next start, 1 it failed, 3 the database cannot be used.
    """
    from engine.config import loading
    from engine.errors import CannotStart
    from engine.operations import retention
    from storage.errors import CannotOpen

    try:
        outcome = retention.ask_to_confirm(loading.database_of(config_file(config)))
    except (CannotOpen, CannotStart) as exc:
        say(f"Not confirmed: {exc}", err=True)
        sys.exit(EXIT_CANNOT_START)
    if outcome.error:
        say(f"Not confirmed: {outcome.error}", err=True)
        sys.exit(1)
    say(outcome.text)
