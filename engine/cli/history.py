"""The `rosey-llm history` group, and the options, types and errors that its commands share."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from engine.cli.say import say
from engine.cli.startup import (
    EXIT_CANNOT_START,
    cannot_start,
    config_file,
    config_option,
    json_option,
)

if TYPE_CHECKING:
    from engine.interfaces.reports.dates import Span
    from storage.queries.reader import Reader
    from storage.queries.selection import Selection

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]
ALL = sys.maxsize
FILE = click.Path(path_type=Path, dir_okay=False)


@dataclass(frozen=True, slots=True)
class Source:
    """The options that name the database: the database itself, or a configuration that has it."""

    config: Path | None
    database: Path | None

    @property
    def path(self) -> Path:
        """The database file. The configuration is read only if no database was named."""
        return self.database or _configured_database(self.config)

    def overridden_by(self, config: Path | None, database: Path | None) -> Source:
        return Source(config or self.config, database or self.database)


def _configured_database(config: Path | None) -> Path:
    from engine.config import loading
    from engine.errors import CannotStart

    try:
        return loading.database_of(config_file(config))
    except CannotStart as exc:
        cannot_start(exc)


class Text(click.ParamType[Any]):
    """A text argument; bytes that are not valid text are replaced."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        return str(value).encode(errors="surrogateescape").decode(errors="replace")


class Moment(Text):
    """A date as people write it, converted to a `Span`."""

    name = "date"

    def __init__(self, *, may_be_future: bool) -> None:
        self._may_be_future = may_be_future

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from datetime import datetime

        from engine.interfaces.reports import dates

        text, now = super().convert(value, param, ctx), datetime.now().astimezone()
        if ctx is not None:  # "2h" is the same moment in all options of a command
            now = ctx.meta.setdefault(NOW, now)
        try:
            span = dates.parse(text, now)
        except ValueError as exc:
            self.fail(f"{exc}.", param, ctx)
        if span.start_ms > round(now.timestamp() * 1000) and not self._may_be_future:
            self.fail(f'"{text}" is {dates.shown(span.start_ms)}, in the future.', param, ctx)
        return span


def options(*more: Decorator) -> Decorator:
    """Add these options and those of every `history` command; pass a Source as first argument.

    --config and --database may be given before the command's name, after it, or both: then those
    after it count.
    """

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(command)
        @click.pass_obj
        def run(group: Source, /, config: Path | None, database: Path | None, **values: Any) -> Any:
            return command(group.overridden_by(config, database), **values)

        for option in reversed((*more, json_option, _config_option, database_option)):
            run = option(run)
        return run

    return decorate


TEXT = Text()
NOW = f"{__name__}.now"  # in click's context
database_option = click.option(
    "--database",
    type=FILE,
    help="Database file, or a copy of one; by default the configuration's.",
)
# ROSEY_LLM_CONFIG is read by the group only: it must not override the group's own --config.
_config_option = click.option("--config", "-c", type=FILE, help="Configuration file.")
channel_option = click.option("--channel", type=TEXT, help="Only this channel.")
user_option = click.option("--user", type=TEXT, help="Only this user and the answers to them.")
user_id_option = click.option(
    "--user-id", type=TEXT, help="Only the user with this id of the platform; as `--user`."
)
since_option = click.option(
    "--since",
    type=Moment(may_be_future=False),
    help='Only from this time on: "2h" (ago), "yesterday", "2026-11-01 14:00" ...',
)
until_option = click.option(
    "--until",
    type=Moment(may_be_future=True),
    help="Only before this time; a day, or a time that comes twice, is included to its end.",
)
# Which rows: `selected` takes their values.
selection_options = (channel_option, user_option, user_id_option, since_option, until_option)


def limit_option(default: int, what: str) -> Decorator:
    """Return the option -n/--limit; its value is ALL if the user gives 0."""
    return click.option(
        "-n",
        "--limit",
        type=click.IntRange(min=0),
        default=default,
        show_default=True,
        callback=lambda ctx, param, value: value or ALL,
        help=f"{what}; 0 for all.",
    )


@click.group(short_help="Show, search, export, verify or erase stored conversations.")
@config_option
@database_option
@click.pass_context
def history(ctx: click.Context, config: Path | None, database: Path | None) -> None:
    """Show, search, export, verify or erase stored conversations.

    All commands work while the service runs, and on a copy of its database. Only `erase` changes
    the database. Times are local times.

    Exit codes: 0 success, 1 not found, 3 the database cannot be read.
    """
    ctx.obj = Source(config, database)


@contextmanager
def reading(path: Path) -> Iterator[Reader]:
    """Open the database for reading; an error of it ends the command with an exit code."""
    from engine.interfaces.terminal import line_input
    from storage.errors import StorageError
    from storage.queries.reader import reading as audit_reading

    line_input.tolerate_odd_bytes()
    try:
        with audit_reading(path) as connection:
            yield connection
    except StorageError as exc:
        cannot_read(exc)


def _check_order(since: Span, until: Span) -> None:
    """End the command if no time lies between the two."""
    from engine.interfaces.reports.dates import shown

    if since.start_ms < until.end_ms:
        return
    if since == until:
        raise click.UsageError(
            f"--since and --until are the same moment, {shown(since.start_ms)}: nothing is between"
            " them. Give a later --until, or a whole day."
        )
    raise click.UsageError(
        f"--until ({shown(until.start_ms)}) is before --since ({shown(since.start_ms)})."
    )


def selected(
    connection: Reader,
    channel: str | None,
    user: str | None = None,
    since: Span | None = None,
    until: Span | None = None,
    user_id: str | None = None,
) -> Selection:
    """Return the selection of rows that the options describe; end the command if it is wrong."""
    from storage.queries import channels
    from storage.queries.selection import Selection

    if since is not None and until is not None:
        _check_order(since, until)
    channel_id = None
    if channel is not None:
        channel_id = channels.find(connection, channel)
        if channel_id is None:
            no_channel(connection, channel)
    return Selection(
        channel_id,
        user,
        since.start_ms if since else None,
        until.end_ms if until else None,
        user_id,
    )


def no_channel(connection: Reader, name: str) -> NoReturn:
    from storage.queries import channels

    no(f'There is no channel "{name}".', channels.nearest(connection, name))


def cannot_read(exc: Exception) -> NoReturn:
    say(f"Error: {exc}", err=True)
    sys.exit(EXIT_CANNOT_START)


def no(text: str, near: list[str] | None = None) -> NoReturn:
    """End the command with exit code 1, this text, and `near` as suggestions."""
    from engine.interfaces.reports.output import visible

    names = " or ".join(f'"{name}"' for name in near or ())
    hint = f" Did you mean {names}?" if near else ""
    say(visible(f"{text}{hint}"), err=True)
    sys.exit(1)
