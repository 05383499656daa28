"""What a running service does, live."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from engine.cli.startup import config_option, load


@click.command(short_help="Watch the running service.")
@config_option
@click.option("--url", help="Where the service's health and metrics are, http://127.0.0.1:9464.")
@click.option(
    "--interval",
    default=1.0,
    show_default=True,
    type=click.FloatRange(0.1, 3600),
    help="Seconds between two looks.",
)
@click.option("--once", is_flag=True, help="Print one frame; so it is where the output is a pipe.")
@click.option("--json", "as_json", is_flag=True, help="Print one look as JSON.")
def top(config: Path | None, url: str | None, interval: float, once: bool, as_json: bool) -> None:
    """Watch the running service: channels, who waits, providers, turns and tokens a second.

    q or Ctrl-C leaves. Exit codes: 0 left, 1 there is no such service, 3 the configuration is
    wrong.
    """
    from engine.interfaces.top import screen, source

    look = source.at(url) if url else source.of(load(config))
    try:
        if as_json:
            import orjson

            click.echo(orjson.dumps(look(), option=orjson.OPT_INDENT_2))
        elif once or not sys.stdout.isatty():
            screen.once(look)
        else:
            screen.live(look, interval)
    except source.NotThere as exc:
        click.echo(f"Error: {exc}", err=True)
        sys.exit(1)
