"""The click group of `rosey-llm`: copes with closed standard streams and full or broken output."""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import Any, NoReturn

import click

STREAMS = (("stdin", "r"), ("stdout", "w"), ("stderr", "w"))
FAILS = (errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


# "#lobby" without quotes is a comment for the shell.
NEEDS_QUOTES = "A name that begins with # needs quotes: '#lobby'"


class Program(click.Group):
    """A command group that handles standard streams that are closed, full or not writable."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except click.BadOptionUsage as exc:
            if exc.option_name != "--channel":
                raise
            hint = f"{exc.message} {NEEDS_QUOTES}"
            raise click.BadOptionUsage(exc.option_name, hint, exc.ctx) from exc

    def main(self, *args: Any, **kwargs: Any) -> Any:
        _open_closed_streams()
        _replace_unencodable_letters()
        try:
            try:
                return super().main(*args, **kwargs)
            finally:
                sys.stdout.flush()  # at interpreter exit, a failure would give no clear message
        except OSError as exc:
            if exc.filename is not None or exc.errno not in FAILS:
                raise
            _exit_unwritable(exc)


def _exit_unwritable(problem: OSError) -> NoReturn:
    """Exit with 1; without a message if the reader of a pipe has gone."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what is still buffered
    if problem.errno != errno.EPIPE:
        click.echo(f"Error: cannot write the output: {problem.strerror}.", err=True)
    sys.exit(1)


def _open_closed_streams() -> None:
    """Open closed streams as /dev/null; else the next opened file would become standard output."""
    for number, (name, mode) in enumerate(STREAMS):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number: this one
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115


def _replace_unencodable_letters() -> None:
    """Print letters that the locale cannot encode as question marks instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
