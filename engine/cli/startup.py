"""Shared by all commands: options, loading settings, the event loop, start errors."""

from __future__ import annotations

import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TypeVar

import click

from engine.cli.say import say

if TYPE_CHECKING:
    import asyncio

    from engine.config.settings import Settings

T = TypeVar("T")
EXIT_CANNOT_START = 3

config_option = click.option(
    "--config",
    "-c",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="ROSEY_LLM_CONFIG",
    help="Configuration file; by default ./rosey-llm.toml if it exists, else built-in defaults.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def config_file(config: Path | None) -> Path | None:
    """Return the configuration file to read, or None for the built-in defaults."""
    from engine.config.loading import DEFAULT_FILE

    if config is None and Path(DEFAULT_FILE).exists():
        return Path(DEFAULT_FILE)
    return config


def load(config: Path | None) -> Settings:
    """Load the settings, or exit with 3 and the reason."""
    from engine.config import loading
    from engine.errors import CannotStart

    try:
        return loading.load(config_file(config))
    except CannotStart as exc:
        cannot_start(exc)


def run_async(work: Coroutine[None, None, T]) -> T:
    """Run a coroutine in a new event loop and return its result; exit if it cannot start."""
    import asyncio

    from engine.errors import CannotStart

    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        try:
            return runner.run(work)
        except CannotStart as exc:
            cannot_start(exc, exc.exit_code)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:  # not available on Windows
        return None
    return uvloop.new_event_loop


def cannot_start(exc: Exception, exit_code: int = EXIT_CANNOT_START) -> NoReturn:
    say(f"rosey-llm cannot start: {exc}", err=True)
    sys.exit(exit_code)


def log_to_stderr(
    level: str,
    line: str = "%(asctime)s %(levelname)s %(name)s: %(message)s",
    *,
    quiet: str = "",
) -> None:
    """Log to standard error, as sentences for people. quiet: a logger that logs errors only."""
    import logging

    from engine.interfaces.reports.output import safe

    class Harmless(logging.Formatter):
        def format(self, record: logging.LogRecord) -> str:
            return "\n".join(safe(super().format(record)))

    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Harmless(line))
    logging.basicConfig(handlers=[handler], level=level.upper())
    if quiet:
        logging.getLogger(quiet).setLevel(logging.ERROR)
