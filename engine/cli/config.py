"""`rosey-llm init` and `rosey-llm config convert`: write a configuration to start with."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from engine.cli.new_file import check_free, force_option
from engine.cli.say import say

if TYPE_CHECKING:
    from engine.config.setup.interview import FoundNats, ServerView

FILE = "rosey-llm.toml"
EXIT_UNREADABLE = 3
LOOK_S = 10.0
READABLE = 0o666  # less the umask: a configuration holds no keys


@click.command(short_help="Write a commented configuration after a few questions.")
@click.option("--defaults", is_flag=True, help="Ask nothing and use all defaults.")
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path, dir_okay=False),
    default=FILE,
    show_default=True,
    help="The file to write.",
)
@force_option
def init(defaults: bool, output: Path, force: bool) -> None:
    """Write a configuration after a few questions. Every setting in it has a comment.

    API keys are not asked for: the file refers to environment variables. If the provider's server
    can be reached, its models are offered, and a wrong address or model is refused once.

    Exit codes: 0 written, 1 nothing was written.
    """
    from engine.config.setup import example

    check_free(output, force)
    text, key_variable = example.shipped(), ""
    if not defaults:
        text, key_variable = _interview(output.parent)
    _write(output, text, force)
    say(f"Wrote {output}. Next steps:")
    if key_variable:
        say(f"  export {key_variable}=...")
    option = "" if str(output) == FILE else f" --config {shlex.quote(str(output))}"
    say(f"  rosey-llm check{option}\n  rosey-llm run{option}")


@click.group()
def config() -> None:
    """Convert the configuration of the plugin before rosey-llm, or print what is said in rooms."""


@config.command(short_help="Convert the plugin's JSON configuration to TOML.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The file to write; by default standard output.",
)
@force_option
def convert(file: Path, output: Path | None, force: bool) -> None:
    """Convert the JSON configuration of the plugin that rosey-llm replaces to TOML.

    Settings that cannot be converted are listed on standard error, with the reason. API keys are
    never written: the new file refers to environment variables.

    Exit codes: 0 converted, 1 nothing was written, 3 the file cannot be read.
    """
    from engine.config.setup import conversion
    from providers.validation import ValidationError

    folder = output.parent if output else Path()
    check_free(output, force)
    old = _read_json(file)
    converted = conversion.convert(old, folder)
    for note in converted.notes:
        say(f"{file}: {note}", err=True)
    if old and not converted.carried:
        _refuse(f"{file} has no setting that can be converted. Is it the plugin's configuration?")
    try:
        text = converted.text(f"Made from {file.name} by `rosey-llm config convert`.", folder)
    except ValidationError as exc:
        _refuse(f"{file}: cannot be converted: {exc}")
    if output is None:
        click.echo(text, nl=False)
        return
    _write(output, text, force)
    say(f"Wrote {output}. Try it: rosey-llm check --config {shlex.quote(str(output))}")


def _interview(folder: Path) -> tuple[str, str]:
    """Return the text of the configuration, and the environment variable of its API key, or ""."""
    from engine.config.setup.interview import Interview
    from engine.interfaces.terminal import line_input

    line_input.tolerate_odd_bytes()
    found = _found_nats() if line_input.is_interactive() else None
    try:
        configured = Interview(_ask, folder, _look, found).hold()
    except click.Abort:
        _refuse("\nNothing was written. `rosey-llm init --defaults` asks no questions.")
    return configured.text, configured.key_variable


def _found_nats() -> FoundNats | None:
    """Return the NATS server that answers where the embedded one would listen."""
    from engine.config.settings import NatsSettings
    from engine.config.setup.interview import FoundNats
    from engine.interfaces.terminal import nats_question

    nats = NatsSettings()
    server = nats_question.server_in_the_way(nats)
    if server is None:
        return None
    return FoundNats(f"nats://127.0.0.1:{nats.port}", needs_login=server.needs_login)


def _look(name: str, table: Mapping[str, Any]) -> ServerView:
    """Return what a provider's server shows; nothing if it cannot be reached."""
    import asyncio

    from engine.config.setup.interview import ServerView
    from providers import registry
    from providers.errors import ProviderError, WrongAddress
    from providers.http.provider import HttpProvider

    async def look() -> ServerView:
        async with registry.build(name, table) as provider:
            if not isinstance(provider, HttpProvider):
                return ServerView()
            try:
                async with asyncio.timeout(LOOK_S):
                    return ServerView(models=await provider.locate())
            except WrongAddress as exc:
                return ServerView(problem=str(exc))
            except (ProviderError, TimeoutError):
                return ServerView()

    return asyncio.run(look())


def _ask(question: str, default: str | None, take: Callable[[str], None]) -> None:
    if sys.stdin is None:  # it is closed
        raise click.Abort
    while True:
        answer = click.prompt(question, default=default).strip()
        if not sys.stdin.isatty():
            say(answer)
        try:
            return take(answer)
        except ValueError as exc:
            say(f"Not possible: {exc}", err=True)
            if not sys.stdin.isatty():
                # The next line of a pipe is the answer to the next question.
                raise click.Abort from None


def _read_json(file: Path) -> dict[str, object]:
    import orjson

    try:
        old = orjson.loads(file.read_bytes().removeprefix(b"\xef\xbb\xbf"))
    except OSError as exc:
        _refuse(f"{file}: cannot be read: {exc.strerror}", EXIT_UNREADABLE)
    except orjson.JSONDecodeError as exc:
        _refuse(f"{file}: not JSON: {exc}", EXIT_UNREADABLE)
    if not isinstance(old, dict):
        _refuse(f"{file}: expected a JSON object", EXIT_UNREADABLE)
    return old


def _write(output: Path, text: str, force: bool) -> None:
    from storage.new_file import new_file

    try:
        with new_file(output, replace=force, mode=READABLE) as file:
            file.write(text.encode())
    except OSError as exc:
        _refuse(f"{output} was not written: {exc.strerror}.")


def _refuse(why: str, code: int = 1) -> NoReturn:
    say(why, err=True)
    sys.exit(code)
