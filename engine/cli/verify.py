"""Proof and copies: `rosey-llm history verify` and `rosey-llm backup`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from engine.cli import history
from engine.cli.history import no, no_channel
from engine.cli.startup import config_option

if TYPE_CHECKING:
    from storage.verification import TamperedRow, Verified


@click.command(short_help="Prove that the history is as it was written.")
@history.options(
    click.option("--seal", metavar="SEAL", help="What an earlier `verify` printed as its seal."),
    click.option("--channel", type=history.TEXT, help="Only this channel, without a seal."),
)
@click.pass_obj
def verify(source: history.Source, seal: str | None, channel: str | None, as_json: bool) -> None:
    """Prove that the history is as it was written, and name the first row that is not.

    Each row has a digest over itself and the row before it in its channel; ids and numbers have no
    gaps. So rows that were changed, removed, moved or put in are found. Erased rows keep their
    digests. Who can write the file could make all digests anew: only a seal that you keep elsewhere
    shows that. With --seal, all rows up to it must be the very same.

    Exit codes: 0 proven, 1 not as it was written, 3 the database cannot be read.
    """
    from engine.interfaces.reports import verification as shown
    from engine.interfaces.reports.output import Output
    from engine.interfaces.reports.progress import ProgressBar
    from storage import verification
    from storage.errors import StorageError
    from storage.queries.reader import reading

    if seal is not None and channel is not None:
        raise click.UsageError("A seal is of the whole history: leave out --channel.")
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
        _say_broken(exc, as_json)
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
@click.option("--database", type=history.FILE, help="Another database than the configuration's.")
@click.option("--force", is_flag=True, help="Replace FILE where it exists.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def backup(
    file: Path, config: Path | None, database: Path | None, force: bool, as_json: bool
) -> None:
    """Copy the database to FILE, as it stands at one moment, while the service runs.

    The copy is verified, readable for its owner alone, and takes its name once it is whole. It has
    all that the service needs to go on: also what waits. So start a service with it in place of the
    old one, never beside it, or what waits is answered twice. The search index is built anew.

    Exit codes: 0 copied, 1 FILE exists or cannot be written, or the copy is not as it was written
    (it is kept all the same), 3 the database cannot be read.
    """
    from engine.interfaces.reports import verification as shown
    from engine.interfaces.reports.output import Output
    from storage.errors import CannotOpen, StorageError

    path = history.Source(config, database).path
    try:
        if file.exists() and not force:
            no(f"{file} exists; --force replaces it.")
        found = _copy(path, file, force=force)
    except CannotOpen as exc:
        history.cannot_read(exc)
    except StorageError as exc:
        no(str(exc))
    except OSError as exc:
        no(f"{file} cannot be written: {exc.strerror}.")
    size = file.stat().st_size
    if isinstance(found, Exception):
        click.echo(f"{file} was written, {size:,} bytes, but:", err=True)
        _say_broken(found, as_json)
    if as_json:
        Output().json({"file": str(file), "bytes": size, **shown.record(found)})
    else:
        Output().line(f"{file}: {size:,} bytes.")
        shown.print_verified(Output(), found, None)


def _copy(database: Path, file: Path, *, force: bool) -> Verified | TamperedRow:
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
            click.echo(f"Copying {database} ...", err=True)
        try:
            advance = shown.advance(bar, verification.given_ids(connection))
            return verification.verify(connection, None, advance)
        except verification.TamperedRow as exc:
            return exc


def _say_broken(broken: TamperedRow, as_json: bool) -> NoReturn:
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
