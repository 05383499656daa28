"""The `rosey-llm` command. Thin: each command imports what it needs when it runs."""

from __future__ import annotations

import click

from engine.cli import service

VERSION = "0.1.0"


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(VERSION, prog_name="rosey-llm")
def main() -> None:
    """The conversation engine behind chat bots: one actor per channel, over NATS."""


for command in (service.run, service.chat, service.check):
    main.add_command(command)
