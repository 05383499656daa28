"""`rosey-llm history search`: finds words in the history, after it has updated the search index."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from engine.cli.history import (
    TEXT,
    Source,
    cannot_read,
    limit_option,
    no,
    options,
    reading,
    selected,
    selection_options,
)
from engine.cli.say import say

if TYPE_CHECKING:
    from engine.interfaces.reports.dates import Span


@click.command(short_help="Search for words, newest hits first.")
@click.argument("words", nargs=-1, required=True, type=TEXT)
@options(
    click.option("--best", is_flag=True, help="Sort by relevance instead of time."),
    *selection_options,
    limit_option(20, "How many hits"),
)
def search(
    source: Source,
    words: tuple[str, ...],
    best: bool,
    channel: str | None,
    user: str | None,
    user_id: str | None,
    since: Span | None,
    until: Span | None,
    limit: int,
    as_json: bool,
) -> None:
    """Find rows that contain all of the WORDS, in any order, newest first.

    '"a phrase"' in double quotes matches exactly; prefix* matches every word that begins so.
    Accents and upper case are ignored. --json prints one line per hit. Exit code 1: nothing found.
    """
    from storage.queries.search_terms import to_match

    try:
        match = to_match(" ".join(words))
    except ValueError as exc:
        raise click.BadParameter(f"{exc}.", param_hint="WORDS") from exc
    path = source.path
    with reading(path) as connection:
        selection = selected(connection, channel, user, since, until, user_id)

    from engine.interfaces.reports import search
    from engine.interfaces.reports.output import Output
    from engine.interfaces.reports.progress import ProgressBar
    from storage.errors import StorageError

    try:
        with ProgressBar("Updating the search index") as bar:
            found = search.search(
                path,
                match,
                selection,
                limit,
                best=best,
                warn=lambda text: say(text, err=True),
                on_progress=bar.update,
            )
    except StorageError as exc:
        cannot_read(exc)
    search.print_hits(Output(), found, as_json=as_json)
    if not found:
        no("Nothing was found.")
