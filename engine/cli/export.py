"""`rosey-llm history export`: write the history as JSON lines, CSV or Markdown."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from engine.cli.history import (
    FILE,
    Source,
    no,
    options,
    reading,
    selected,
    selection_options,
)
from engine.cli.new_file import check_free, force_option

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
        help="JSON lines and CSV have all columns of each row; Markdown is for people.",
    ),
    click.option(
        "--output", "-o", type=FILE, help="The file to write; by default standard output."
    ),
    force_option,
    *selection_options,
)
def export(
    source: Source,
    kind: Format,
    output: Path | None,
    force: bool,
    channel: str | None,
    user: str | None,
    user_id: str | None,
    since: Span | None,
    until: Span | None,
    as_json: bool,
) -> None:
    """Write the history to a file, oldest rows first. --json means --format jsonl.

    Only its owner can read the file, and it gets its name only when it is complete. In CSV, a text
    that a spreadsheet would take for a formula has a ' before it.

    Exit codes: 0 exported, 1 the file exists or cannot be written, or there is no such channel,
    3 the database cannot be read.
    """
    if as_json and kind != "jsonl":
        raise click.UsageError(f"--json cannot be combined with --format {kind}.")
    check_free(output, force)
    with reading(source.path) as connection:
        from engine.interfaces.reports import export
        from engine.interfaces.reports.progress import ProgressBar
        from storage.queries import entries

        selection = selected(connection, channel, user, since, until, user_id)
        total = entries.count(connection, selection) if ProgressBar.is_seen() else 0
        rows = export.rows(connection, selection, kind)
        try:
            with (
                export.output(output, source.path, replace=force) as file,
                ProgressBar("Exporting") as bar,
            ):
                to_terminal = output is None and sys.stdout.isatty()
                for done, line in enumerate(export.render(rows, kind)):
                    file.write(export.safe_for_terminal(line) if to_terminal else line)
                    if total and done % 500 == 0:
                        bar.update(done, total)
        except BrokenPipeError:
            raise
        except OSError as exc:
            no(f"Cannot write {output or 'standard output'}: {exc.strerror}.")
