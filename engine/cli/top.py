"""`rosey-llm top`: watch a running service in the terminal."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from engine.cli.say import say
from engine.cli.startup import config_option, load


@click.command(short_help="Watch the running service.")
@config_option
@click.option("--url", help="The service's HTTP address, for example http://127.0.0.1:9464.")
@click.option(
    "--interval",
    default=1.0,
    show_default=True,
    type=click.FloatRange(0.1, 3600),
    help="Seconds between two updates, over which the rates are measured.",
)
@click.option("--once", is_flag=True, help="Print one frame and exit; the default in a pipe.")
@click.option("--json", "as_json", is_flag=True, help="Print the values once, as JSON, and exit.")
def top(config: Path | None, url: str | None, interval: float, once: bool, as_json: bool) -> None:
    """Watch the running service: its channels, waiting messages, providers, turns and tokens.

    The arrows and PgUp, PgDn scroll, s changes the order, / chooses channels by a part of their
    name, Esc chooses all again; q or Ctrl-C quits. The service sends at most 500 channels, those
    with the most waiting messages first.

    Exit codes: 0 success, 1 no such service, 3 the configuration is wrong.
    """
    from engine.interfaces.top import screen, source

    fetch = source.at(url) if url else source.of(load(config))
    try:
        if as_json:
            import orjson

            click.echo(orjson.dumps(fetch(), option=orjson.OPT_INDENT_2))
        elif once or not sys.stdout.isatty():
            screen.once(fetch, interval)
        else:
            screen.live(fetch, interval)
    except source.NotThere as exc:
        say(f"Error: {exc}", err=True)
        sys.exit(1)
