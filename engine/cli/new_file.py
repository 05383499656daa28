"""The option --force, and what every command does if the file that it is to write exists."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from engine.cli.say import say

force_option = click.option("--force", is_flag=True, help="Replace an existing file.")


def check_free(file: Path | None, force: bool) -> None:
    """End the command with exit code 1 if it would replace `file` without --force.

    A device or a pipe is not replaced but written to.
    """
    if file is not None and file.is_file() and not force:
        say(f"{file} exists. Use --force to replace it.", err=True)
        sys.exit(1)
