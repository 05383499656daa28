"""`rosey-llm config texts`: print what the service says in rooms."""

from __future__ import annotations

from pathlib import Path

import click

from engine.cli.say import say
from engine.cli.startup import config_option, load


@click.command(short_help="Print what the service says in rooms.")
@config_option
@click.option(
    "--language",
    "-l",
    help="Print what is said in rooms whose rule names this language; else what the others hear.",
)
def texts(config: Path | None, language: str | None) -> None:
    """Print every sentence that the service itself says in rooms, as TOML.

    Paste what you want to change into the configuration. A comment says when each is said, and
    which placeholders may be left out or added. For a language that is not there yet, it prints
    what the other rooms hear, to be translated.

    Exit codes: 0 printed, 3 the configuration is wrong.
    """
    from engine.interfaces.terminal.control_characters import for_stream
    from engine.texts import texts as table

    configured = load(config).texts
    if language is not None and not table.is_language(language):
        raise click.BadParameter(table.EXPECTED_LANGUAGE, param_hint="--language")
    known = table.languages(configured)
    if language is not None and language not in known:
        there = f" There are: {', '.join(known)}." if known else ""
        say(f"There is no [texts.{language}] yet.{there}", err=True)
    click.echo(for_stream(table.as_toml(configured, language or table.FOR_ALL)), nl=False)
