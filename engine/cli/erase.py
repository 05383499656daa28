"""`rosey-llm history erase`: erase what a user or a channel said."""

from __future__ import annotations

import getpass
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from engine.cli import history
from engine.cli.history import no, no_channel
from engine.cli.say import say
from engine.cli.startup import config_file
from engine.errors import EXIT_INTERRUPTED

if TYPE_CHECKING:
    from engine.interfaces.reports.dates import Span
    from engine.texts.texts import Texts
    from storage.erasure import Amount, Scope

NOT_ERASED = (
    "Not erased: what others wrote about it, log files, exports, and older backups"
    " (`--database FILE` erases in a backup)."
)
CONTINUES = (
    "The erasure continues: the service completes it, now or at its next start. Run the same"
    " command again to wait for it."
)


@click.command(short_help="Erase what a user or a channel said, everywhere.")
@history.options(
    click.option("--user", type=history.TEXT, help="Erase this user's messages; case is ignored."),
    click.option(
        "--user-id",
        type=history.TEXT,
        help="Erase the messages of the user with this id of the platform, under every name.",
    ),
    click.option("--channel", type=history.TEXT, help="Erase only in this channel."),
    click.option(
        "--before",
        type=history.Moment(may_be_future=False),
        help='Erase only what is older: "30d", "2026-11-01", "yesterday" ...',
    ),
    click.option("--reason", type=history.TEXT, help="Kept for ever in the event of the erasure."),
    click.option("--yes", is_flag=True, help="Do not ask for confirmation."),
    click.option("--dry-run", is_flag=True, help="Erase nothing; only print how much it would be."),
    click.option(
        "--no-compact",
        is_flag=True,
        help="Do not rewrite the database file: faster, but erased text may remain in the file.",
    ),
)
def erase(
    source: history.Source,
    user: str | None,
    user_id: str | None,
    channel: str | None,
    before: Span | None,
    reason: str | None,
    yes: bool,
    dry_run: bool,
    no_compact: bool,
    as_json: bool,
) -> None:
    """Erase what a user said, with the answers to it, or what was said in a channel.

    User names, texts and answers are removed from the history, the search index, snapshots,
    mailboxes, the outbox and active conversations. The rows remain, with their times and digests,
    so that `verify` can still prove the rest. Waiting messages are answered with "This message was
    erased." The history gets a row, in the channel "(engine)", that says which rows were erased,
    when, by whom and why, but not whose they were.

    The running service erases; without one, this command does. An interrupted erasure continues
    later. At the end the database file is rewritten, unless --no-compact is given; answers wait
    meanwhile, about 14 s per GB.

    Exit codes: 0 erased, 1 no such user or channel (any more) or not confirmed, 3 the database
    cannot be used.
    """
    if user is None and user_id is None and channel is None:
        raise click.UsageError("Give --user, --user-id or --channel, or several of them.")

    from engine.interfaces.terminal import line_input
    from storage import backup_folder
    from storage.erasure import Scope

    line_input.tolerate_odd_bytes()
    path = source.path
    scope = Scope(user, channel, before.start_ms if before else None, user_id=user_id)
    amount, is_unclean, without_id = _amount(path, scope)
    has_matches = bool(amount.rows or amount.waiting)
    # An interrupted erasure may have left only its cleaning to do: wait for that, too.
    if dry_run or not (has_matches or is_unclean):
        _print_amount(amount, as_json, None)
        _print_without_id(without_id, as_json)
        return
    if has_matches and not yes:
        _confirm(amount, user or user_id or str(channel))
    body = {"scope": scope.to_json(), "compact": not no_compact, "by": _operator()}
    texts = _texts(source.config)
    rows = _erase(path, body | ({"reason": reason} if reason else {}), amount, texts)
    _print_amount(amount, as_json, rows)
    _print_without_id(without_id, as_json)
    if not as_json:
        say(NOT_ERASED)
        for copy in sorted(path.resolve().parent.glob(f"{path.name}.before-*")):
            say(f"Not erased: {copy}, made before an upgrade. Delete it as soon as you can.")
        if copies := backup_folder.backups(path):
            folder, number = backup_folder.folder_of(path), len(copies)
            said = "1 copy" if number == 1 else f"{number} copies"
            say(f"Not erased: {said} of the service in {folder}.")


def _amount(path: Path, scope: Scope) -> tuple[Amount, bool, Mapping[str, int]]:
    """Return how much there is to erase, and whether an earlier erasure is still being cleaned.

    Also return the user's names if the scope is an id, and the rows under them without an id.
    """
    from storage import erasure
    from storage.errors import StorageError
    from storage.queries import channels
    from storage.queries.reader import reading

    try:
        with reading(path) as connection:
            if scope.channel is not None and channels.find(connection, scope.channel) is None:
                no_channel(connection, scope.channel)
            amount = erasure.amount(connection, scope)
            is_unclean = erasure.remains(connection) > 0
            is_known = scope.user is None or erasure.knows_user(connection, scope.user)
            if not (is_known or is_unclean):
                no(
                    f'There are no stored messages by "{scope.user}".',
                    erasure.users_like(connection, str(scope.user)),
                )
            user_id = scope.user_id
            if not (user_id is None or is_unclean or erasure.knows_user_id(connection, user_id)):
                no(f'There are no stored messages by a user with the id "{user_id}".')
            without_id = erasure.without_id(connection, user_id) if user_id is not None else {}
            return amount, is_unclean, without_id
    except StorageError as exc:
        history.cannot_read(exc)


def _print_amount(amount: Amount, as_json: bool, erased: int | None) -> None:
    from engine.interfaces.reports.output import Output, counted

    if as_json:
        Output().json(
            {
                "rows": amount.rows,
                "channels": amount.channels,
                "waiting": amount.waiting,
                "erased": erased or 0,
            }
        )
    elif erased is not None:
        say(f"Erased: {counted(erased, 'row')} of the history.")
    else:
        say(f"To erase: {_format(amount)}.")


def _print_without_id(without_id: Mapping[str, int], as_json: bool) -> None:
    """Name what else may be the user's: rows from before bots sent ids."""
    from engine.interfaces.reports.output import counted, visible

    if as_json:
        return
    for name, rows in without_id.items():
        without = counted(rows, "row")
        say(
            f"Not erased: {without} without an id under the user's name {visible(name)}."
            " If they are the same user's, erase them with --user."
        )


def _format(amount: Amount) -> str:
    from engine.interfaces.reports.output import counted

    waiting = counted(amount.waiting, "waiting command")
    amounts = f"{counted(amount.rows, 'row')} in {counted(amount.channels, 'channel')}"
    return f"{amounts}, and {waiting}" if amount.waiting else amounts


def _confirm(amount: Amount, name: str) -> None:
    from engine.interfaces.reports.output import visible
    from engine.interfaces.terminal import line_input

    if not line_input.is_interactive():
        raise click.UsageError("Cannot ask for confirmation without a terminal: add --yes.")
    say(f"This erases {_format(amount)}, for ever.")
    if line_input.read_line(f"Type the name ({visible(name)}) to continue: ") != name:
        say("Nothing was erased.", err=True)
        sys.exit(1)


def _operator() -> str:
    """Return who gives the order: the user of the operating system, also behind sudo."""
    try:
        name = getpass.getuser()
    except (OSError, KeyError):  # a user id without a name, as in a container
        name = str(os.getuid())
    return os.environ.get("SUDO_USER") or name


def _texts(config: Path | None) -> Texts:
    """Return what senders are told; in English if the configuration cannot be read."""
    from engine.config import loading
    from engine.errors import CannotStart
    from engine.texts.texts import Texts

    try:
        settings = loading.load(config_file(config))
    except CannotStart:
        return Texts()
    return Texts(settings.texts, settings.language_of)


def _erase(path: Path, body: Mapping[str, Any], amount: Amount, texts: Texts) -> int:
    """Ask for the erasure, wait until it is done, and return how many rows were erased."""
    from functools import partial

    from engine.interfaces.reports.progress import ProgressBar
    from engine.operations import admin_requests, erasure
    from storage.errors import StorageError

    reported: set[str] = set()
    handler = partial(erasure.handler, texts=texts)
    with ProgressBar("Erasing") as bar:

        def show_progress(left: Mapping[str, Any]) -> None:
            if amount.rows:
                bar.update(min(left.get("rows", 0), amount.rows), amount.rows)
            reason = left.get("waits_for")
            if reason and reason not in reported:
                reported.add(reason)
                say(f"Waiting: {reason}", err=True)

        try:
            result = admin_requests.wait_until_done(
                path, erasure.REQUEST_KIND, body, handler, show_progress
            )
        except KeyboardInterrupt:
            say(CONTINUES, err=True)
            sys.exit(EXIT_INTERRUPTED)
        except StorageError as exc:
            history.cannot_read(exc)
    if not result["ok"]:
        say(f"Not erased: {result['error']}", err=True)
        sys.exit(1)
    return int(result["rows"])
