"""`rosey-llm bot`: bots for chat platforms, which ask a running service."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from engine.cli.say import say
from engine.cli.startup import (
    cannot_start,
    config_file,
    config_option,
    load,
    log_to_stderr,
    run_async,
)

if TYPE_CHECKING:
    from engine.interfaces.bots.irc_options import IrcOptions

SECRET = "ROSEY_LLM_IRC_SECRET"  # noqa: S105 - its name


@click.group()
def bot() -> None:
    """Bots for chat platforms: each asks a running service, from any machine."""


@bot.command(short_help="Answer !chat in channels of IRC.")
@config_option
@click.option(
    "--server", required=True, metavar="HOST[:PORT]", help="By default port 6667, with --tls 6697."
)
@click.option(
    "--channel",
    "channels",
    multiple=True,
    required=True,
    help="Such as '#lobby', with quotes; may be repeated.",
)
@click.option("--nick", default="rosey", show_default=True, help="The bot's nickname.")
@click.option("--tls", is_flag=True, help="Encrypt the connection to the server.")
@click.option(
    "--sasl", "account", metavar="ACCOUNT", help="Log in to this account; needs a secret."
)
@click.option("--pass", "with_pass", is_flag=True, help="Send the secret as the server's password.")
@click.option(
    "--secret-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help=f"File with the secret; by default it is in the environment variable {SECRET}.",
)
@click.option(
    "--keys",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File with the keys of channels: in each line a channel and its key.",
)
@click.option(
    "--rate",
    type=click.FloatRange(0.05, 100),
    help="Lines in a second; by default 1, on Twitch 0.6.",
)
@click.option(
    "--prefix",
    default="irc",
    show_default=True,
    help="Before a channel's name in the service: irc/#lobby.",
)
@click.option(
    "--nats",
    "address",
    envvar="ROSEY_LLM_NATS_URL",
    metavar="URL",
    help="Address of NATS; by default that of the service in this folder. If it has a password,"
    " put it into the environment variable ROSEY_LLM_NATS_URL.",
)
def irc(
    config: Path | None,
    server: str,
    channels: tuple[str, ...],
    nick: str,
    tls: bool,
    account: str | None,
    with_pass: bool,
    secret_file: Path | None,
    keys: Path | None,
    rate: float | None,
    prefix: str,
    address: str | None,
) -> None:
    """Answer !chat in channels of IRC, until SIGTERM or Ctrl-C. It needs the extra `irc`.

    A lost connection to IRC or to NATS is made again; questions wait meanwhile.

    Exit codes: 0 left, 3 cannot start, 130 forced by a second signal.
    """
    from engine.errors import CannotStart
    from engine.interfaces.bots.irc_options import (
        IrcOptions,
        channel_name,
        nickname,
        server_address,
    )

    try:
        host, port = server_address(server, tls)
        names = [channel_name(each) for each in channels]
        nick = nickname(nick)
    except ValueError as exc:
        raise click.UsageError(f"{exc}.") from exc
    if account and with_pass:
        raise click.UsageError("Give --sasl or --pass, not both.")
    try:
        options = IrcOptions(
            host=host,
            port=port,
            channels=_with_keys(names, keys),
            nick=nick,
            tls=tls,
            account=account or "",
            secret=_secret(secret_file) if account or with_pass else "",
            prefix=prefix,
            rate=rate,
        )
    except CannotStart as exc:
        cannot_start(exc)
    _run(options, address, config)


def _run(options: IrcOptions, address: str | None, config: Path | None) -> None:
    from engine.errors import CannotStart

    try:
        from engine.interfaces.bots import irc_bot
    except ModuleNotFoundError as exc:
        if (exc.name or "").startswith(("engine", "storage", "providers")):
            raise
        from providers.installation import install_command

        cannot_start(CannotStart(f"The IRC bot needs the extra irc: {install_command('irc')}"))
    from engine.interfaces.bots.service_client import service_client
    from engine.texts.texts import Texts

    log_to_stderr("warning", "%(message)s")
    settings = load(config) if config_file(config) is not None else None
    texts = Texts(settings.texts, settings.language_of) if settings is not None else Texts()
    try:
        client = service_client(address, settings.nats if settings is not None else None)
    except CannotStart as exc:
        cannot_start(exc)
    run_async(irc_bot.run(options, client, say, texts))


def _secret(file: Path | None) -> str:
    """Return the secret. Raise CannotStart."""
    from engine.errors import CannotStart

    secret = os.environ.get(SECRET, "") if file is None else _read(file).strip()
    if not secret or any(ord(each) < 33 for each in secret):
        where = f"the environment variable {SECRET}, or name a file: --secret-file"
        raise CannotStart(
            f"There is no secret. Put one word into {where if file is None else file}."
        )
    return secret


def _with_keys(channels: list[str], file: Path | None) -> dict[str, str]:
    """Return the key of each channel, "" without one. Raise CannotStart."""
    from engine.errors import CannotStart
    from engine.interfaces.bots.irc_options import channel_name

    keys = {}
    for line in _read(file).splitlines() if file is not None else ():
        words = line.split()
        if words and len(words) != 2:
            raise CannotStart(f"Cannot read {file}: expected a channel and its key in each line.")
        if words:
            keys[channel_name(words[0])] = words[1]
    return {name: keys.get(name, "") for name in channels}


def _read(file: Path) -> str:
    from engine.errors import CannotStart

    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        why = exc.strerror if isinstance(exc, OSError) else "it is not UTF-8"
        raise CannotStart(f"Cannot read {file}: {why}.") from exc
