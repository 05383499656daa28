"""`rosey-llm check`: test the configuration and all that it names."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from engine.cli.say import say
from engine.cli.startup import (
    EXIT_CANNOT_START,
    cannot_start,
    config_file,
    config_option,
    log_to_stderr,
    run_async,
)

if TYPE_CHECKING:
    from engine.operations.check import CheckReport


@click.command(short_help="Test the configuration, NATS, the database and the providers.")
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def check(config: Path | None, as_json: bool) -> None:
    """Test the configuration, NATS, the database and the providers; say how to fix what fails.

    No file is left behind, and a running service is not disturbed. A provider's address, key and
    model are tried without a call, if the server has a list of models; else with one of one token.
    With [prices] or a price list, each model has a line about its price.
    --json prints one object: file, findings, notes, can_answer.

    Exit codes: 0 the service can answer, 1 it cannot, 3 the configuration is wrong.
    """
    from engine.config import loading
    from engine.errors import CannotStart

    found = config_file(config)
    file = found and found.absolute()
    if not as_json:
        missing = Path(loading.DEFAULT_FILE).absolute()
        say(f"Configuration: {file or f'built-in defaults; there is no {missing}'}")
    try:
        settings = loading.load(found)
    except CannotStart as exc:
        if not as_json:
            cannot_start(exc)
        _print_json(file, error=str(exc))
        sys.exit(EXIT_CANNOT_START)
    log_to_stderr("error")

    from engine.operations import check

    report = run_async(check.report(settings))
    if as_json:
        _print_json(file, report)
    else:
        _print(report)
    if not report.can_answer:
        sys.exit(1)


def _print(report: CheckReport) -> None:
    width = max(len(each.part) for each in report.findings)
    for each in report.findings:
        state = "ok" if each.works else "FAILS" if each.needed else "off"
        say(f"{each.part:<{width}}  {state:<5}  {each.detail}".rstrip())
    for note in report.notes:
        say(f"Note: {note}")
    say(f"The service {'can' if report.can_answer else 'cannot'} answer.")


def _print_json(file: Path | None, report: CheckReport | None = None, **more: Any) -> None:
    from engine.interfaces.reports import output

    record = {
        "file": file and str(file),
        "findings": [each.record for each in report.findings] if report else [],
        "notes": list(report.notes) if report else [],
        "can_answer": report is not None and report.can_answer,
    }
    click.echo(output.json(record | more))
