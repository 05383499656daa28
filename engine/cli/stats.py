"""`rosey-llm history stats`: count turns, errors and tokens, and measure answer times."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from engine.cli.history import (
    ALL,
    Source,
    limit_option,
    options,
    reading,
    selected,
    selection_options,
)
from engine.cli.new_file import force_option
from engine.cli.plot_option import check_plot, plot_option, write_plot

if TYPE_CHECKING:
    from engine.interfaces.reports.dates import Span
    from storage.queries.reader import Reader
    from storage.queries.selection import Selection
    from storage.queries.totals import By


@click.command(short_help="Count turns, errors and tokens, and measure answer times.")
@options(
    click.option(
        "--by",
        type=click.Choice(["channel", "user", "persona", "provider", "model", "day"]),
        help="Print one line for each of these; by default one total.",
    ),
    *selection_options,
    limit_option(20, "How many lines: those with most turns, or the newest days"),
    plot_option("turns, tokens and latency over time"),
    force_option,
)
def stats(
    source: Source,
    by: By | None,
    channel: str | None,
    user: str | None,
    user_id: str | None,
    since: Span | None,
    until: Span | None,
    limit: int,
    plot: Path | None,
    force: bool,
    as_json: bool,
) -> None:
    """Count turns, answers, errors by code and tokens; measure answer times (percentiles).

    Reads all selected rows, which takes a second or more per million. --json prints one array.
    """
    check_plot(plot, force)
    with reading(source.path) as connection:
        from engine.interfaces.reports import stats
        from engine.interfaces.reports.output import Output
        from storage.queries import totals

        selection = selected(connection, channel, user, since, until, user_id)
        found = totals.totals(connection, selection, by, limit)
        if plot is not None:
            _plot(connection, selection, plot, force)
    out = Output()
    if as_json:
        out.json([stats.record(each, by) for each in found])
    else:
        stats.print_totals(out, found, by)


def _plot(connection: Reader, selection: Selection, file: Path, force: bool) -> None:
    from engine.interfaces.reports import plot
    from storage.queries import totals

    unit: By = "hour" if totals.span_ms(connection, selection) <= plot.HOURLY_MS else "day"
    found = totals.totals(connection, selection, unit, ALL)
    write_plot(lambda image: plot.draw(found, unit, image), file, force)
