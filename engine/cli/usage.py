"""`rosey-llm usage`: what calls to models used and cost."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from engine.cli.history import ALL, limit_option, reading
from engine.cli.new_file import force_option
from engine.cli.plot_option import check_plot, plot_option, write_plot
from engine.cli.startup import config_option, json_option, load

if TYPE_CHECKING:
    from engine.interfaces.reports.usage import By


@click.command(short_help="Show what calls to models used and cost.")
@click.option(
    "--by",
    type=click.Choice(["user", "channel", "persona", "provider", "model", "day"]),
    help="Print one line for each of these; by default one total.",
)
@click.option(
    "--days",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="How many days up to today, by [limits] timezone.",
)
@limit_option(20, "How many lines: those that cost most, or the newest days")
@plot_option("tokens and costs day by day")
@force_option
@click.option(
    "--database",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Database file, or a copy of one; by default the configuration's.",
)
@config_option
@json_option
def usage(
    by: By | None,
    days: int,
    limit: int,
    plot: Path | None,
    force: bool,
    database: Path | None,
    config: Path | None,
    as_json: bool,
) -> None:
    """Show how many requests asked a model, their tokens, and what they cost.

    Works while the service runs, and on a copy of its database. Tokens that a provider did not
    count are estimated. A cost is what the provider said, else by [prices]; requests without a
    price cost nothing here, and are counted.

    Exit codes: 1 the picture cannot be drawn, 3 the configuration or the database cannot be read.
    """
    check_plot(plot, force)
    settings = load(config)

    from engine.interfaces.reports import usage as report
    from engine.interfaces.reports.output import Output

    timezone = settings.limits.timezone
    span = report.last_days(timezone, days)
    with reading(database or Path(settings.storage.path)) as connection:
        found = report.sums(connection, by, span, limit)
        daily = report.sums(connection, "day", span, ALL) if plot is not None else []
    if plot is not None:
        from engine.interfaces.reports.plot import draw_usage

        write_plot(lambda image: draw_usage(daily, timezone, image), plot, force)
    out = Output()
    if as_json:
        out.json([report.record(each, by) for each in found])
    else:
        report.print_sums(out, found, by)
