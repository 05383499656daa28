"""The service itself: run it, talk to it, try whether it could answer."""

from __future__ import annotations

import getpass
import signal
import sys
from pathlib import Path

import click

from engine.cli.startup import config_file, config_option, load, log_to_stderr, run_async


@click.command(short_help="Run the service until SIGTERM or Ctrl-C.")
@config_option
def run(config: Path | None) -> None:
    """Run the service until SIGTERM or Ctrl-C; it finishes running answers first.

    Exit codes: 0 drained, 3 cannot start, 130 forced by a second signal. SIGHUP reloads the
    configuration.
    """
    # One that comes before the service can heed it waits until then, and does not end the process.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    settings = load(config)
    if not settings.enabled:
        click.echo(f"{settings.name} is disabled (enabled = false); nothing was started.")
        return

    from engine.daemon.run import run as run_service
    from engine.monitoring import logs

    logs.configure(settings.log)
    run_async(run_service(settings, click.echo, config_file(config)))


@click.command()
@config_option
@click.option("--channel", default="terminal", show_default=True, help="The channel to talk in.")
@click.option("--user", default=None, help="Your name there; your login name by default.")
def chat(config: Path | None, channel: str, user: str | None) -> None:
    """Talk in the terminal. Starts the service for as long as it takes, unless it runs already.

    Ctrl-C stops an answer, Ctrl-D leaves. With input from a pipe, each line gets its answer.
    """
    settings = load(config)
    log_to_stderr("warning", "%(message)s")

    from engine.interfaces.terminal import chat

    sys.exit(run_async(chat.chat(settings, channel, user or _login_name(), config_file(config))))


@click.command(short_help="Try configuration, NATS, database and providers.")
@config_option
def check(config: Path | None) -> None:
    """Try configuration, NATS, database and providers; say what to do about what fails.

    Exit codes: 0 the service could answer, 1 it could not, 3 the configuration is wrong.
    """
    settings = load(config)
    log_to_stderr("error")

    from engine.operations import check

    found = run_async(check.findings(settings))
    width = max(len(each.part) for each in found)
    for each in found:
        state = "ok" if each.works else "FAILS" if each.needed else "off"
        click.echo(f"{each.part:<{width}}  {state:<5}  {each.detail}")
    if not check.could_answer(found):
        click.echo("The service could not answer.")
        sys.exit(1)
    click.echo("The service can answer.")


def _login_name() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "User"
