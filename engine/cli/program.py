"""The whole command: the streams that it stands on, and an output that cannot be written."""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import Any, NoReturn

import click

STREAMS = (("stdin", "r"), ("stdout", "w"), ("stderr", "w"))
FAILS = (errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


class Program(click.Group):
    """A group of commands that may be started with streams that are closed, or that fill up."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        _open_closed_streams()
        _show_what_can_be_shown()
        try:
            try:
                return super().main(*args, **kwargs)
            finally:
                sys.stdout.flush()  # or Python does it at its end, and nobody says why it fails
        except OSError as exc:
            if exc.filename is not None or exc.errno not in FAILS:
                raise
            _give_up(exc)


def _give_up(problem: OSError) -> NoReturn:
    """Ends with 1; in silence where the reader of a pipe has gone."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what is still held
    if problem.errno != errno.EPIPE:
        click.echo(f"Error: the output cannot be written: {problem.strerror}.", err=True)
    sys.exit(1)


def _open_closed_streams() -> None:
    """Else the next file or connection to be opened would be taken for standard output."""
    for number, (name, mode) in enumerate(STREAMS):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free: this one
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115


def _show_what_can_be_shown() -> None:
    """In a locale without a letter, it becomes a question mark, and not the end of the command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
