"""The option --plot of commands that also draw what they print."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from engine.cli.history import FILE, no
from engine.cli.new_file import check_free

Command = Callable[..., Any]
IMAGES = (".png", ".svg")


def plot_option(what: str) -> Callable[[Command], Command]:
    """Return the option. what: what is drawn."""
    return click.option("--plot", type=FILE, help=f"Also draw {what} into this .png or .svg file.")


def check_plot(file: Path | None, force: bool) -> None:
    """End the command if the picture cannot be of this format, or would replace a file."""
    if file is not None and file.suffix.lower() not in IMAGES:
        raise click.BadParameter(f'"{file}" must end in .png or .svg.', param_hint="--plot")
    check_free(file, force)


def write_plot(drawn: Callable[[str], bytes], file: Path, force: bool) -> None:
    """Write the picture that `drawn` returns for a format, or end the command with the reason."""
    from engine.interfaces.reports.plot import PlotNotInstalled
    from storage.new_file import new_file

    try:
        picture = drawn(file.suffix[1:])
        with new_file(file, replace=force) as opened:
            opened.write(picture)
    except (PlotNotInstalled, ValueError) as exc:
        no(str(exc))
    except OSError as exc:
        no(f"Cannot write {file}: {exc.strerror}.")
