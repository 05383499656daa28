"""`rosey-llm persona list`, `show` and `try`: look at personas and test them."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from engine.cli.say import say
from engine.cli.startup import config_option, json_option, load, log_to_stderr, run_async
from engine.errors import EXIT_INTERRUPTED

if TYPE_CHECKING:
    from engine.config.settings import Settings
    from engine.interfaces.personas.persona_list import PersonaEntry

WIDTH = 100


@click.group(short_help="List, show and try the personas.")
def persona() -> None:
    """List, show and try the personas: those built in and those of the configuration."""


@persona.command("list", short_help="List all personas with the first words of their prompts.")
@config_option
@json_option
def list_(config: Path | None, as_json: bool) -> None:
    """List all personas: name, own model and settings, first words of the prompt."""
    from engine.interfaces.personas import persona_list

    entries = persona_list.entries(load(config))
    if as_json:
        _print_json([entry.record for entry in entries])
        return
    width = max(len(entry.name) for entry in entries)
    marks = max(len(entry.marks) for entry in entries)
    for entry in entries:
        start = f"{entry.name:<{width}}  {entry.marks:<{marks}}  "
        own = ", ".join(f"{key} {value}" for key, value in entry.choices.items())
        words = textwrap.shorten(entry.persona.prompt, WIDTH, placeholder=" ...")
        text = f"[{own}] {words}" if own else words
        _print(start + textwrap.shorten(text, max(40, WIDTH - len(start)), placeholder=" ..."))


@persona.command()
@click.argument("name")
@config_option
@json_option
def show(name: str, config: Path | None, as_json: bool) -> None:
    """Show a persona's whole prompt and its settings."""
    entry = _entry(load(config), name)
    if as_json:
        _print_json(entry.record)
        return
    _print(f"{entry.name} ({entry.marks})" if entry.marks else entry.name)
    for key in ("model", "temperature", "max_tokens"):
        _print(f"{key + ':':<13}{entry.choices.get(key, 'as configured for the provider')}")
    _print(f"\n{entry.persona.prompt}")


@persona.command("try", short_help="Ask one question with a persona; nothing is stored.")
@click.argument("name")
@click.argument("text")
@config_option
@click.option("--model", help="Use this model instead of the persona's.")
@click.option(
    "--temperature", type=click.FloatRange(0, 2), help="Use this instead of the persona's."
)
def try_(
    name: str, text: str, config: Path | None, model: str | None, temperature: float | None
) -> None:
    """Ask the configured providers one question with this persona. Nothing is stored.

    Exit codes: 0 answered, 1 no answer, 3 the configuration is wrong.
    """
    settings = load(config)
    entry = _entry(settings, name)
    log_to_stderr("warning", "%(message)s")

    from engine.commands.validation import Choices
    from engine.errors import EngineError
    from engine.interfaces.personas import persona_trial
    from engine.interfaces.terminal import line_input

    line_input.tolerate_odd_bytes()
    shown = False

    def show(piece: str) -> None:
        nonlocal shown
        shown = True
        _print(piece, nl=False)

    asked = persona_trial.ask(
        settings, entry.persona, line_input.clean(text), Choices(model, temperature), show
    )
    try:
        answered = run_async(asked)
    except (EngineError, KeyboardInterrupt) as exc:
        click.echo(nl=shown)  # the error starts on a new line
        if isinstance(exc, KeyboardInterrupt):
            sys.exit(EXIT_INTERRUPTED)
        _fail(str(exc))
    click.echo()
    say(f"({answered.provider}, {answered.completion.model})", err=True)


def _entry(settings: Settings, name: str) -> PersonaEntry:
    from engine.interfaces.personas import persona_list

    try:
        return persona_list.entry(settings, name)
    except LookupError as exc:
        _fail(str(exc))


def _print(text: str, nl: bool = True) -> None:
    from engine.interfaces.terminal.control_characters import for_stream

    click.echo(for_stream(text), nl=nl, color=True)  # or it would take sequences out


def _print_json(value: Any) -> None:
    import orjson

    click.echo(orjson.dumps(value, option=orjson.OPT_INDENT_2))


def _fail(error: str) -> NoReturn:
    say(f"Error: {error}", err=True)
    sys.exit(1)
