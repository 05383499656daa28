"""`rosey-llm history verify` and `rosey-llm backup`: prove the history and copy the database."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from engine.cli import history
from engine.cli.history import no, no_channel
from engine.cli.new_file import check_free, force_option
from engine.cli.say import say
from engine.cli.startup import config_option, json_option

if TYPE_CHECKING:
    from storage.verification import TamperedRow, Verified


@click.command(short_help="Prove that the history was not changed.")
@history.options(
    click.option("--seal", metavar="SEAL", help="The seal that an earlier `verify` printed."),
    click.option("--channel", type=history.TEXT, help="Only this channel; prints no seal."),
)
def verify(source: history.Source, seal: str | None, channel: str | None, as_json: bool) -> None:
    """Prove that the history was not changed, or name the first row that was.

    Each row has a digest of itself and of the row before it in its channel; row numbers have no
    gaps. So changed, removed, moved and added rows are found. Erased rows keep their digests.
    An attacker who can write the file could compute all digests again: only a seal kept elsewhere
    reveals that. With --seal, all rows up to the seal must be identical.

    Exit codes: 0 proven, 1 changed, 3 the database cannot be read.
    """
    from engine.interfaces.reports import verification as shown
    from engine.interfaces.reports.output import Output
    from engine.interfaces.reports.progress import ProgressBar
    from storage import verification
    from storage.errors import StorageError
    from storage.queries.reader import reading

    if seal is not None and channel is not None:
        raise click.UsageError("A seal covers the whole history: leave out --channel.")
    try:
        sealed = verification.Seal.parse(seal) if seal is not None else None
    except ValueError as exc:
        raise click.BadParameter(f"{exc}.", param_hint="--seal") from exc
    try:
        with reading(source.path) as connection, ProgressBar("Verifying") as bar:
            if channel is not None:
                proved = verification.verify_channel(connection, channel)
            else:
                advance = shown.advance(bar, verification.given_ids(connection))
                proved = verification.verify(connection, sealed, advance)
    except verification.TamperedRow as exc:
        _exit_tampered(exc, as_json)
    except KeyError:
        _no_channel(source.path, str(channel))
    except StorageError as exc:
        history.cannot_read(exc)
    if as_json:
        Output().json(shown.record(proved))
    else:
        shown.print_verified(Output(), proved, sealed)


@click.command(short_help="Copy the database while the service runs.")
@click.argument("file", type=history.FILE)
@config_option
@click.option(
    "--database", type=history.FILE, help="Database to copy; by default the configuration's."
)
@force_option
@json_option
def backup(
    file: Path, config: Path | None, database: Path | None, force: bool, as_json: bool
) -> None:
    """Copy the database to FILE, consistent at one moment, while the service runs.

    The copy is verified, only its owner can read it, and it gets its name only when it is complete.
    It holds all that a service needs, waiting messages included. So start a service from it instead
    of the old one, never beside it, or waiting messages are answered twice. The search index is not
    copied; it is built again when needed.

    Exit codes: 0 copied, 1 FILE exists or cannot be written, or verifying found a changed row (the
    copy is kept), 3 the database cannot be read.
    """
    from engine.interfaces.reports import verification as shown
    from engine.interfaces.reports.output import Output
    from storage.errors import CannotOpen, StorageError

    path = history.Source(config, database).path
    check_free(file, force)
    try:
        found = _copy(path, file, force=force)
    except CannotOpen as exc:
        history.cannot_read(exc)
    except StorageError as exc:
        no(str(exc))
    except OSError as exc:
        no(f"Cannot write {file}: {exc.strerror}.")
    size = file.stat().st_size
    if isinstance(found, Exception):
        say(f"{file} was written, {size:,} bytes, but:", err=True)
        _exit_tampered(found, as_json)
    if as_json:
        Output().json({"file": str(file), "bytes": size, **shown.record(found)})
    else:
        Output().line(f"{file}: {size:,} bytes.")
        shown.print_verified(Output(), found, None)


def _copy(database: Path, file: Path, *, force: bool) -> Verified | TamperedRow:
    """Copy and verify; a TamperedRow is returned, not raised, so that the copy is kept."""
    from engine.interfaces.reports import verification as shown
    from engine.interfaces.reports.progress import ProgressBar
    from storage import backup, verification
    from storage.queries.reader import reading

    with (
        ProgressBar("Verifying the copy") as bar,
        backup.copied(database, file, replace=force) as copy,
        reading(copy) as connection,
    ):
        if ProgressBar.is_seen():
            say(f"Copying {database} ...", err=True)
        try:
            advance = shown.advance(bar, verification.given_ids(connection))
            return verification.verify(connection, None, advance)
        except verification.TamperedRow as exc:
            return exc


def _exit_tampered(broken: TamperedRow, as_json: bool) -> NoReturn:
    from engine.interfaces.reports import verification as shown
    from engine.interfaces.reports.output import Output

    if as_json:
        Output().json(shown.tampered_record(broken))
    else:
        shown.print_tampered(Output(sys.stderr), broken)
    sys.exit(1)


def _no_channel(path: Path, name: str) -> NoReturn:
    from storage.queries.reader import reading

    with reading(path) as connection:
        no_channel(connection, name)
