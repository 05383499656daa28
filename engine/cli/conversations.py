"""`rosey-llm history channels` and `show`: list the channels, print a channel's conversation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from engine.cli.history import (
    ALL,
    Source,
    Text,
    limit_option,
    options,
    reading,
    selected,
    since_option,
    until_option,
    user_id_option,
    user_option,
)
from engine.cli.program import NEEDS_QUOTES
from engine.cli.say import say

if TYPE_CHECKING:
    from engine.interfaces.reports.dates import Span
    from storage.queries.channels import Order


@click.command(short_help="List the channels: messages, speakers, tokens, last activity.")
@options(
    click.option(
        "--sort",
        type=click.Choice(["name", "messages", "speakers", "tokens", "activity"]),
        default="activity",
        show_default=True,
        help="By name in ascending order, by others in descending order.",
    ),
    limit_option(20, "How many channels"),
)
def channels(source: Source, sort: Order, limit: int, as_json: bool) -> None:
    """List the channels: messages, speakers, persona, tokens, last activity.

    Sorting by name or activity is fast: it reads only the channels that are shown. Other orders
    read all rows, which takes some seconds per million. --json prints one line per channel.
    """
    with reading(source.path) as connection:
        from dataclasses import asdict

        from engine.interfaces.reports.dates import shown
        from engine.interfaces.reports.output import Output
        from storage.queries import channels

        out = Output()
        found = channels.channels(connection, sort, limit)
        if as_json:
            for each in found:
                out.json(asdict(each))
            return
        heads = ("channel", "messages", "speakers", "persona", "prompt tokens", "answer tokens")
        rows = [
            (
                each.name,
                each.messages,
                each.speakers,
                each.persona,
                each.prompt_tokens,
                each.completion_tokens,
                shown(each.last_ms),
            )
            for each in found
        ]
        out.table((*heads, "last activity"), rows)


class ChannelName(Text):
    """The name of a channel."""

    def get_missing_message(self, param: click.Parameter, ctx: click.Context | None) -> str:
        return NEEDS_QUOTES


@click.command()
@click.argument("channel", type=ChannelName())
@options(
    limit_option(50, "How many of the newest rows"),
    since_option,
    until_option,
    user_option,
    user_id_option,
    click.option(
        "--follow", "-f", is_flag=True, help="Print new rows as they arrive, until Ctrl-C."
    ),
    click.option("--ids", "-v", is_flag=True, help="Also print request ids, tokens and latency."),
)
def show(
    source: Source,
    channel: str,
    limit: int,
    since: Span | None,
    until: Span | None,
    user: str | None,
    user_id: str | None,
    follow: bool,
    ids: bool,
    as_json: bool,
) -> None:
    """Print a channel's conversation, oldest first. --json prints one line per row."""
    if follow and until is not None:
        raise click.UsageError("--follow has no end: leave out --until.")

    path = source.path
    with reading(path) as connection:
        from engine.interfaces.reports import transcript
        from engine.interfaces.reports.output import Output
        from storage.queries import entries

        out = Output()
        selection = selected(connection, channel, user, since, until, user_id)
        # Read before the rows, so that --follow misses none that are written in between.
        newest_id = entries.newest_id(connection)
        if limit == ALL:
            found = entries.in_order(connection, selection)
        else:
            newest = entries.newest(connection, selection, limit + 1)
            if len(newest) > limit:
                say("(There are older rows; -n 0 shows all.)", err=True)
            found = iter(newest[-limit:])
        last_id = newest_id
        for each in found:
            last_id = max(last_id, each.id)
            transcript.print_entries(out, [each], with_ids=ids, as_json=as_json)
    if follow:
        try:
            for new in transcript.follow(path, channel, selection, last_id):
                transcript.print_entries(out, new, with_ids=ids, as_json=as_json)
        except KeyboardInterrupt:
            click.echo(err=True)
