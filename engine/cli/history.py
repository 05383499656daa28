"""`rosey-llm history`: the group, and what its commands have in common."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from engine.cli.startup import EXIT_CANNOT_START, cannot_start, config_file, config_option

if TYPE_CHECKING:
    from engine.interfaces.reports.dates import Span
    from storage.queries.reader import Reader
    from storage.queries.selection import Selection

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]
ALL = sys.maxsize
FILE = click.Path(path_type=Path, dir_okay=False)


@dataclass
class Source:
    """Where the history is."""

    config: Path | None = None
    database: Path | None = None

    @property
    def path(self) -> Path:
        """The database; a configuration is read only where the database was not named."""
        return self.database or _configured(self.config)


def _configured(config: Path | None) -> Path:
    from engine.config import loading
    from engine.errors import CannotStart

    try:
        return loading.database_of(config_file(config))
    except CannotStart as exc:
        cannot_start(exc)


class Text(click.ParamType[Any]):
    """A text of the command line, without bytes that are none."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        return str(value).encode(errors="surrogateescape").decode(errors="replace")


class Moment(Text):
    """A date as people write it, as a `Span`."""

    name = "date"

    def __init__(self, *, may_be_ahead: bool) -> None:
        self._may_be_ahead = may_be_ahead

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from datetime import datetime

        from engine.interfaces.reports import dates

        text, now = super().convert(value, param, ctx), datetime.now().astimezone()
        try:
            span = dates.parse(text, now)
        except ValueError as exc:
            self.fail(f"{exc}.", param, ctx)
        if span.start_ms > round(now.timestamp() * 1000) and not self._may_be_ahead:
            self.fail(f'"{text}" is {dates.shown(span.start_ms)}, in the future.', param, ctx)
        return span


def _note(ctx: click.Context, param: click.Parameter, value: Path | None) -> None:
    if value is not None:
        setattr(ctx.ensure_object(Source), str(param.name), value)


def options(*more: Decorator) -> Decorator:
    """Options, above those that every command takes, before or behind its name."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed((*more, json_option, _config, database_option)):
            command = option(command)
        return command

    return decorate


TEXT = Text()
database_option = click.option(
    "--database",
    type=FILE,
    expose_value=False,
    callback=_note,
    help="The database, or a copy of one; by default that of the configuration.",
)
# Without the variable: what the group was told must not be undone by it.
_config = click.option(
    "--config", "-c", type=FILE, expose_value=False, callback=_note, help="Configuration file."
)
json_option = click.option("--json", "as_json", is_flag=True, help="As JSON.")
channel_option = click.option("--channel", type=TEXT, help="Only this channel.")
user_option = click.option("--user", type=TEXT, help="Only this user, and what answered them.")
since_option = click.option(
    "--since", type=Moment(may_be_ahead=False), help='From then on: "2h", "yesterday", ISO ...'
)
until_option = click.option(
    "--until", type=Moment(may_be_ahead=True), help="Up to then; a day is taken with its end."
)


def limit_option(default: int, what: str) -> Decorator:
    return click.option(
        "-n",
        "--limit",
        type=click.IntRange(min=0),
        default=default,
        show_default=True,
        callback=lambda ctx, param, value: value or ALL,
        help=f"{what}; 0 for all.",
    )


@click.group(short_help="What was said, by whom, by which model, and why.")
@config_option
@database_option
@click.pass_context
def history(ctx: click.Context, config: Path | None) -> None:
    """What was said, by whom, in which persona, by which model, and why.

    Works while the service runs, and on a copy of its database. Only `erase` changes anything
    there. Times are local. Exit codes: 0 good, 1 there is no such thing, 3 the database cannot be
    read.
    """
    ctx.ensure_object(Source).config = config


@contextmanager
def reading(path: Path) -> Iterator[Reader]:
    """A connection that reads; what goes wrong with it ends the command."""
    from engine.interfaces.terminal import line_input
    from storage.errors import StorageError
    from storage.queries.reader import reading as audit_reading

    line_input.tolerate_odd_bytes()
    try:
        with audit_reading(path) as connection:
            yield connection
    except StorageError as exc:
        cannot_read(exc)


def selected(
    connection: Reader,
    channel: str | None,
    user: str | None,
    since: Span | None,
    until: Span | None,
) -> Selection:
    """The rows that the options ask for."""
    from storage.queries import channels
    from storage.queries.selection import Selection

    if since is not None and until is not None and until.end_ms <= since.start_ms:
        raise click.UsageError("--until is before --since.")
    channel_id = None
    if channel is not None:
        channel_id = channels.find(connection, channel)
        if channel_id is None:
            no_channel(connection, channel)
    return Selection(
        channel_id, user, since.start_ms if since else None, until.end_ms if until else None
    )


def no_channel(connection: Reader, name: str) -> NoReturn:
    from storage.queries import channels

    no(f'There is no channel "{name}".', channels.nearest(connection, name))


def cannot_read(exc: Exception) -> NoReturn:
    click.echo(f"Error: {exc}", err=True)
    sys.exit(EXIT_CANNOT_START)


def no(text: str, near: list[str] | None = None) -> NoReturn:
    """The answer is no; `near` is what may have been meant."""
    from engine.interfaces.reports.output import visible

    names = " or ".join(f'"{name}"' for name in near or ())
    hint = f" Did you mean {names}?" if near else ""
    click.echo(visible(f"{text}{hint}"), err=True)
    sys.exit(1)
