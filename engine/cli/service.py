"""`rosey-llm run` and `chat`: run the service, talk to it."""

from __future__ import annotations

import getpass
import shlex
import signal
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import click

from engine.cli.history import TEXT
from engine.cli.say import say
from engine.cli.startup import config_file, config_option, load, log_to_stderr, run_async
from engine.errors import EXIT_INTERRUPTED

if TYPE_CHECKING:
    from engine.interfaces.terminal.chat_options import ChatOptions
    from engine.interfaces.terminal.type_ahead import TypeAhead


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
@click.argument("text", nargs=-1, type=TEXT)
@click.option(
    "--channel",
    type=TEXT,
    help='The channel to talk in; by default "terminal", and a new one for TEXT or a pipe.',
)
@click.option("--user", type=TEXT, help="Your name there; by default your login name.")
@click.option("--new", is_flag=True, help="Begin the conversation again.")
@click.option("--whole", is_flag=True, help="The input is one question; TEXT stands before it.")
def chat(
    config: Path | None,
    text: tuple[str, ...],
    channel: str | None,
    user: str | None,
    new: bool,
    whole: bool,
) -> None:
    """Talk to the bot in the terminal, or ask TEXT and leave.

    If no service is running, one runs until you leave. At the prompt, Ctrl-C clears the line; else
    it stops the answer, and a second one does not wait for it. Ctrl-D, exit or quit leaves. Tab
    completes commands and personas, Alt-Enter begins a new line. Input from a pipe is answered
    line by line, up to exit or quit.

    Exit codes: 0 answered, or a person has left, 1 there was no answer to TEXT or to a line of a
    pipe, 3 no service can be used, 130 ended by Ctrl-C.
    """
    asked = " ".join(text)
    if text and not asked.strip():
        raise click.UsageError("TEXT is empty.")

    from engine.interfaces.terminal.chat_options import ChatOptions, has_cursor

    options = ChatOptions(
        user=user or _login_name(),
        channel=channel,
        text=asked,
        whole=whole,
        new=new,
        config=config_file(config),
    )
    named = f" --config {shlex.quote(str(config))}" if config else ""
    if not (options.is_conversation and has_cursor()):
        sys.exit(_chat(options, None, named))

    from engine.interfaces.terminal.type_ahead import TypeAhead

    type_ahead = TypeAhead()  # before the other modules are imported, which takes a moment
    try:
        sys.exit(_chat(options, type_ahead, named))
    except KeyboardInterrupt:  # while the modules are imported
        sys.exit(EXIT_INTERRUPTED)
    finally:
        type_ahead.leave()


def _chat(options: ChatOptions, type_ahead: TypeAhead | None, config_option: str) -> int:
    settings = load(options.config)
    log_to_stderr("warning", "%(message)s", quiet="rosey_llm.turn")  # the answer says it

    from engine.interfaces.terminal import chat, nats_question

    if options.is_conversation and (server := nats_question.server_in_the_way(settings.nats)):
        with type_ahead.lent() if type_ahead is not None else nullcontext():
            settings = nats_question.settings_to_use(settings, server, say)
    return run_async(chat.chat(settings, options, type_ahead, config_option))


def _login_name() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "User"
