"""Writes `docs/cli.md` from the command line itself: `python -m tests.cli_page`."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path

import click

from engine.cli import main

PAGE = Path(__file__).parents[1] / "docs" / "cli.md"
HEAD = """# The command line

Every command and option, as `--help` says them (`python -m tests.cli_page` writes this page).
[operating.md](operating.md) shows the commands at work.
"""


def page() -> str:
    """Return the whole page, in Markdown."""
    context = click.Context(main, info_name="rosey-llm", **main.context_settings)
    return "\n".join([HEAD, *_sections(main, context)])


def _sections(command: click.Command, context: click.Context) -> Iterator[str]:
    yield f"## `{context.command_path}`\n"
    yield f"{inspect.cleandoc(command.help or '').replace(chr(8), '').strip()}\n"
    rows = [row for param in command.get_params(context) if (row := _row(param, context))]
    if rows:
        yield "\n".join(["| option | |", "|---|---|", *rows]) + "\n"
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None
            yield from _sections(child, click.Context(child, info_name=name, parent=context))


def _row(param: click.Parameter, context: click.Context) -> str | None:
    if isinstance(param, click.Argument):
        return f"| `{param.make_metavar(context)}` | |"
    record = param.get_help_record(context)
    if record is None:
        return None
    option, text = (part.replace("|", "\\|") for part in record)
    return f"| `{option}` | {' '.join(text.split())} |"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
