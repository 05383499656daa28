"""The history for other programs: `rosey-llm history export`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from engine.cli.history import (
    FILE,
    Source,
    channel_option,
    no,
    options,
    reading,
    selected,
    since_option,
    until_option,
    user_option,
)

if TYPE_CHECKING:
    from engine.interfaces.reports.dates import Span
    from engine.interfaces.reports.export import Format


@click.command()
@options(
    click.option(
        "--format",
        "kind",
        type=click.Choice(["jsonl", "csv", "markdown"]),
        default="jsonl",
        show_default=True,
        help="A line of JSON or CSV for each row, with all columns; Markdown to be read.",
    ),
    click.option("--output", "-o", type=FILE, help="The file; standard output by default."),
    channel_option,
    user_option,
    since_option,
    until_option,
)
@click.pass_obj
def export(
    source: Source,
    kind: Format,
    output: Path | None,
    channel: str | None,
    user: str | None,
    since: Span | None,
    until: Span | None,
    as_json: bool,
) -> None:
    """The history as a file, oldest first. --json is --format jsonl.

    The file is readable for its owner alone, takes its name only once it is whole, and then
    replaces what was there. Exit codes: 0 exported, 1 the file cannot be written or there is no
    such channel, 3 the database cannot be read.
    """
    if as_json and kind != "jsonl":
        raise click.UsageError(f"--json and --format {kind} exclude each other.")
    with reading(source.path) as connection:
        from engine.interfaces.reports import export
        from engine.interfaces.reports.progress import ProgressBar
        from storage.queries import entries

        selection = selected(connection, channel, user, since, until)
        total = entries.count(connection, selection) if ProgressBar.is_seen() else 0
        rows = export.rows(connection, selection, kind)
        try:
            with export.output(output, source.path) as file, ProgressBar("Exporting") as bar:
                is_seen = output is None and sys.stdout.isatty()
                for done, line in enumerate(export.render(rows, kind)):
                    file.write(export.shown_safely(line) if is_seen else line)
                    if total and done % 500 == 0:
                        bar.update(done, total)
        except BrokenPipeError:
            raise
        except OSError as exc:
            no(f"{output or 'standard output'} cannot be written: {exc.strerror}.")
