"""`rosey-llm run` and `chat`: run the service, talk to it."""

from __future__ import annotations

import getpass
import signal
import sys
from pathlib import Path

import click

from engine.cli.say import say
from engine.cli.startup import config_file, config_option, load, log_to_stderr, run_async


@click.command(short_help="Run the service until SIGTERM or Ctrl-C.")
@config_option
@click.option(
    "--second",
    is_flag=True,
    help="Start also if another engine listens on the same subjects; both then answer.",
)
def run(config: Path | None, second: bool) -> None:
    """Run the service until SIGTERM or Ctrl-C. It finishes running answers before it stops.

    SIGHUP reloads the configuration.

    Exit codes: 0 drained, 3 cannot start, 4 another engine listens on the same subjects, 75 another
    one is just starting or still ending (try again), 130 forced by a second signal.
    """
    # Blocked until the service handles it: before that, a SIGHUP would end the process.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    settings = load(config)
    if not settings.enabled:
        say(f"{settings.name} is disabled (enabled = false); nothing was started.")
        return

    from engine.daemon.run import run as run_service
    from engine.monitoring import logs

    logs.configure(settings.log)
    run_async(run_service(settings, say, config_file(config), second=second))


@click.command(short_help="Talk to the bot in the terminal.")
@config_option
@click.option("--channel", default="terminal", show_default=True, help="The channel to talk in.")
@click.option("--user", default=None, help="Your name there; by default your login name.")
def chat(config: Path | None, channel: str, user: str | None) -> None:
    """Talk to the bot in the terminal. If no service is running, one runs until you leave.

    Ctrl-C stops an answer, Ctrl-D leaves. Input from a pipe is answered line by line.
    """
    settings = load(config)
    log_to_stderr("warning", "%(message)s")

    from engine.interfaces.terminal import chat

    sys.exit(run_async(chat.chat(settings, channel, user or _login_name(), config_file(config))))


def _login_name() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "User"
