"""The `rosey-llm` command. Thin: each command imports what it needs when it runs."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TypeVar

import click

if TYPE_CHECKING:
    import asyncio

    from engine.settings import Settings

T = TypeVar("T")
VERSION = "0.1.0"
EXIT_CANNOT_START = 3

config_option = click.option(
    "--config",
    "-c",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="ROSEY_LLM_CONFIG",
    help="Configuration file; ./rosey-llm.toml where there is one, else the defaults.",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(VERSION, prog_name="rosey-llm")
def main() -> None:
    """The conversation engine behind chat bots: one actor per channel, over NATS."""


@main.command()
@config_option
def run(config: Path | None) -> None:
    """Run the service until SIGTERM or Ctrl-C; it finishes running answers first.

    Exit codes: 0 drained, 3 cannot start, 130 forced by a second signal.
    """
    settings = _load(config)
    if not settings.enabled:
        click.echo(f"{settings.name} is disabled (enabled = false); nothing was started.")
        return
    _log_to_stderr(settings.log.level)

    from engine import app

    _async(app.run(settings, click.echo))


@main.command()
@config_option
@click.option("--channel", default="terminal", show_default=True, help="The channel to talk in.")
@click.option("--user", default=None, help="Your name there; your login name by default.")
def chat(config: Path | None, channel: str, user: str | None) -> None:
    """Talk in the terminal. Starts the service for as long as it takes, unless it runs already.

    Ctrl-C stops an answer, Ctrl-D leaves. With input from a pipe, each line gets its answer.
    """
    settings = _load(config)
    _log_to_stderr("warning", "%(message)s")

    from engine import terminal

    sys.exit(_async(terminal.chat(settings, channel, user or _login_name())))


@main.command()
@config_option
def check(config: Path | None) -> None:
    """Try configuration, NATS, database and providers; say what to do about what fails.

    Exit codes: 0 the service could answer, 1 it could not, 3 the configuration is wrong.
    """
    settings = _load(config)
    _log_to_stderr("error")

    from engine import check

    found = _async(check.findings(settings))
    width = max(len(each.part) for each in found)
    for each in found:
        state = "ok" if each.works else "FAILS" if each.needed else "off"
        click.echo(f"{each.part:<{width}}  {state:<5}  {each.detail}")
    if not check.could_answer(found):
        click.echo("The service could not answer.")
        sys.exit(1)
    click.echo("The service can answer.")


def _load(config: Path | None) -> Settings:
    from engine import settings
    from engine.errors import CannotStart

    if config is None and Path(settings.DEFAULT_FILE).exists():
        config = Path(settings.DEFAULT_FILE)
    try:
        return settings.load(config)
    except CannotStart as exc:
        _cannot_start(exc)


def _async(work: Coroutine[None, None, T]) -> T:
    import asyncio

    from engine.errors import CannotStart

    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        try:
            return runner.run(work)
        except CannotStart as exc:
            _cannot_start(exc)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:  # there is none for Windows
        return None
    return uvloop.new_event_loop


def _cannot_start(exc: Exception) -> NoReturn:
    click.echo(f"rosey-llm cannot start: {exc}", err=True)
    sys.exit(EXIT_CANNOT_START)


def _log_to_stderr(
    level: str, line: str = "%(asctime)s %(levelname)s %(name)s: %(message)s"
) -> None:
    import logging

    logging.basicConfig(stream=sys.stderr, level=level.upper(), format=line)


def _login_name() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "User"


if __name__ == "__main__":
    main()
