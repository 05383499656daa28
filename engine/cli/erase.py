"""Privacy: `rosey-llm history erase`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from engine.cli import history
from engine.cli.history import no, no_channel

if TYPE_CHECKING:
    from engine.interfaces.reports.dates import Span
    from storage.erasure import Amount, Scope

EXIT_INTERRUPTED = 130
REACHES_NOT = (
    "Not reached: what others said about it, log files, exports, and backups made before"
    " (`--database FILE` erases in one)."
)
STAYS = (
    "The erasure goes on: the service carries it out, now or at its next start. The same command"
    " waits for it again."
)


@click.command(short_help="Erase what a user or a channel said, everywhere.")
@history.options(
    click.option("--user", type=history.TEXT, help="What this user said, whatever the case."),
    click.option("--channel", type=history.TEXT, help="What was said in this channel."),
    click.option(
        "--before",
        type=history.Moment(may_be_ahead=False),
        help='Only what was said before then: "30d", "2026-11-01", "yesterday" ...',
    ),
    click.option("--yes", is_flag=True, help="Do not ask."),
    click.option("--dry-run", is_flag=True, help="Only say how much it would be."),
    click.option(
        "--no-compact",
        is_flag=True,
        help="Do not write the database anew: faster, but remains may be left in it.",
    ),
)
@click.pass_obj
def erase(
    source: history.Source,
    user: str | None,
    channel: str | None,
    before: Span | None,
    yes: bool,
    dry_run: bool,
    no_compact: bool,
    as_json: bool,
) -> None:
    """Erase what a user said, and what was answered to them, or what was said in a channel.

    Users, texts and answers go from the history, the search index, snapshots, mailboxes, the
    outbox, and from living conversations; that something was said then and there stays, with its
    digest, so that `verify` still proves the rest. What waits comes to "This message was erased."
    The running service does it, or this command where none runs; interrupted, it is gone on with.
    At the end the database is written anew (--no-compact leaves that out): answers wait meanwhile,
    some 14 s for each GB.

    Exit codes: 0 erased, 1 no such user (any more) or channel, or not confirmed, 3 the database
    cannot be used.
    """
    if user is None and channel is None:
        raise click.UsageError("Say --user, or --channel, or both.")

    from engine.interfaces.terminal import line_input
    from storage.erasure import Scope

    line_input.tolerate_odd_bytes()
    path = source.path
    scope = Scope(user, channel, before.start_ms if before else None)
    amount, is_unclean = _amount(path, scope)
    is_there = bool(amount.rows or amount.waiting)
    # An erasure that was interrupted may have come as far as the cleaning: it is waited for.
    if dry_run or not (is_there or is_unclean):
        _say_amount(amount, as_json, None)
        return
    if is_there and not yes:
        _confirm(amount, user if user is not None else str(channel))
    rows = _erased(path, scope, amount, compact=not no_compact)
    _say_amount(amount, as_json, rows)
    if not as_json:
        click.echo(REACHES_NOT)


def _amount(path: Path, scope: Scope) -> tuple[Amount, bool]:
    """And whether an earlier erasure is still to be cleaned up after."""
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
                    f'Nothing that is still there was said by "{scope.user}".',
                    erasure.users_like(connection, str(scope.user)),
                )
            return amount, is_unclean
    except StorageError as exc:
        history.cannot_read(exc)


def _say_amount(amount: Amount, as_json: bool, erased: int | None) -> None:
    from engine.interfaces.reports.output import Output

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
        click.echo(f"Erased: {erased:,} rows of the history.")
    else:
        click.echo(f"To erase: {_told(amount)}.")


def _told(amount: Amount) -> str:
    waiting = f", and {amount.waiting:,} commands that wait" if amount.waiting else ""
    return f"{amount.rows:,} rows in {amount.channels:,} channels{waiting}"


def _confirm(amount: Amount, name: str) -> None:
    from engine.interfaces.reports.output import visible
    from engine.interfaces.terminal import line_input

    if not line_input.is_interactive():
        raise click.UsageError("Without a terminal to ask at, say --yes.")
    click.echo(f"This erases {_told(amount)}, for ever.")
    if line_input.typed(f"Type the name ({visible(name)}) to go on: ") != name:
        click.echo("Nothing was erased.", err=True)
        sys.exit(1)


def _erased(path: Path, scope: Scope, amount: Amount, *, compact: bool) -> int:
    from engine.interfaces.reports.progress import ProgressBar
    from engine.operations import admin_requests, erasure
    from storage.errors import StorageError

    told: set[str] = set()
    with ProgressBar("Erasing") as bar:

        def say(left: Mapping[str, Any]) -> None:
            if amount.rows:
                bar.update(min(left.get("rows", 0), amount.rows), amount.rows)
            reason = left.get("waits_for")
            if reason and reason not in told:
                told.add(reason)
                click.echo(f"Waiting: {reason}", err=True)

        body = {"scope": scope.to_json(), "compact": compact}
        try:
            result = admin_requests.wait_until_done(
                path, erasure.REQUEST_KIND, body, erasure.handler, say
            )
        except KeyboardInterrupt:
            click.echo(STAYS, err=True)
            sys.exit(EXIT_INTERRUPTED)
        except StorageError as exc:
            history.cannot_read(exc)
    if not result["ok"]:
        click.echo(f"Not erased: {result['error']}", err=True)
        sys.exit(1)
    return int(result["rows"])
