"""The command of `make rooms`: three rooms with three rules, side by side, while the rules change.

A real `rosey-llm run` with its nats-server, and fake models behind sockets that record every byte.
In each round, `rosey-llm reload` changes the rule of each room, after it has refused a rule that
would let the text of the locked room out; then providers go and come back. One person floods a
room. Afterwards each prompt must be proved, and be what a provider received.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

import click

from tests.rooms.run import run

ROUNDS_A_MINUTE = 2
FEWEST_ROUNDS = 6  # each kind of outage, with and without the cellar


@click.command()
@click.option("--minutes", default=60.0, show_default=True)
@click.option("--pause", default=2.0, show_default=True, help="A person's longest pause, seconds.")
def main(minutes: float, pause: float) -> None:
    """Exit codes: 0 no fault was found, 1 faults were found."""
    rounds = max(FEWEST_ROUNDS, round(minutes * ROUNDS_A_MINUTE))
    with tempfile.TemporaryDirectory(prefix="rosey-rooms-") as folder:
        verdict = asyncio.run(
            run(
                Path(folder),
                seconds=minutes * 60,
                rounds=rounds,
                pause_s=pause,
                report=lambda line: click.echo(line, err=True),
            )
        )
    for line in verdict.lines():
        click.echo(line)
    sys.exit(not verdict.is_good)


if __name__ == "__main__":
    main()
