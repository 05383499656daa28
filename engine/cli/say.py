"""Prints a text for people: what strangers wrote in it cannot act on the terminal."""

from __future__ import annotations

import click


def say(text: str, *, err: bool = False) -> None:
    """Print lines; control characters become visible symbols.

    Names, addresses and values come from files and servers that others may write.
    """
    from engine.interfaces.reports.output import safe

    click.echo("\n".join(safe(text)), err=err)
