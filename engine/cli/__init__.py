"""The `rosey-llm` command with all its subcommands; each imports what it needs when it runs."""

from __future__ import annotations

import click

from engine.cli import (
    audit,
    bot,
    channel,
    check,
    config,
    conversations,
    demo,
    erase,
    export,
    history,
    model,
    persona,
    prompt,
    reload,
    retention,
    search,
    service,
    stats,
    texts,
    top,
    usage,
    verify,
)
from engine.cli.program import Program
from engine.version import our_version


@click.group(cls=Program, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(our_version(), prog_name="rosey-llm")
def main() -> None:
    """A conversation engine for chat bots: reads messages from NATS, answers with language models.

    To begin: `rosey-llm init`, then `check`, then `run`. `chat` talks to the bot in this terminal.
    """


for command in (
    service.run,
    service.chat,
    bot.bot,
    demo.demo,
    check.check,
    top.top,
    reload.reload,
    retention.retention,
    audit.audit,
    config.init,
    config.config,
    model.model,
    persona.persona,
    channel.channel,
    usage.usage,
    history.history,
    verify.backup,
):
    main.add_command(command)
config.config.add_command(texts.texts)
for command in (
    conversations.channels,
    conversations.show,
    search.search,
    export.export,
    stats.stats,
    prompt.prompt,
    verify.verify,
    erase.erase,
):
    history.history.add_command(command)
