"""`rosey-llm demo`: watch an engine being killed in the middle of its answers."""

from __future__ import annotations

import sys

import click

from engine.cli.startup import run_async
from engine.errors import EXIT_INTERRUPTED


@click.command(short_help="Watch a crash that loses nothing; needs no model.")
@click.option(
    "--speed",
    type=click.FloatRange(0.2, 20),
    help="2 is twice as fast; by default 1 on a terminal and 3 in a pipe.",
)
def demo(speed: float | None) -> None:
    """Watch a crash that loses nothing: half a minute, without a model, a key or a configuration.

    Three people in three rooms ask a real engine, which is killed in the middle of its answers and
    started again. Then the history shows the turn that was cut off, with its proven prompt, and the
    audit page waits at it. In a pipe the demo prints lines and ends. It uses a temporary folder,
    and removes it.

    Exit codes: 0 all as promised, 1 not so, 3 cannot start, 130 ended by Ctrl-C.
    """
    try:
        from engine.interfaces.demo import stage

        sys.exit(run_async(stage.run(speed)))
    except KeyboardInterrupt:  # before the demo handles Ctrl-C
        sys.exit(EXIT_INTERRUPTED)
