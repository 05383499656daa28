"""`rosey-llm channel show`: what holds in a channel."""

from __future__ import annotations

from pathlib import Path

import click

from engine.cli.history import TEXT
from engine.cli.startup import cannot_start, config_option, json_option, load


@click.group(short_help="Show which settings and rule a channel has.")
def channel() -> None:
    """Show which settings and rule a channel has, and where they come from."""


@channel.command()
@click.argument("name", type=TEXT)
@config_option
@json_option
def show(name: str, config: Path | None, as_json: bool) -> None:
    """Show which rule a channel has, and each setting of its next !chat with its source.

    The channel need not exist yet. The configuration file is read as it is now: a running service
    has it since its start or its last reload. --json prints one object.
    """
    from engine.config.allowed_models import ChosenModel
    from engine.interfaces.reports import channel_settings
    from engine.interfaces.reports.output import Output
    from providers.validation import ValidationError
    from storage.errors import CannotOpen
    from storage.queries import channels, recent_channels
    from storage.queries.asked_providers import asked_providers
    from storage.queries.reader import reading

    settings = load(config)
    database = Path(settings.storage.path)
    chosen = asked = model = None
    try:
        if database.exists():  # else nothing was said yet
            with reading(database) as connection:
                if (channel_id := channels.find(connection, name)) is not None:
                    chosen = recent_channels.switched_to(connection, channel_id)
                    switched = recent_channels.switched_model(connection, channel_id)
                    model = None if switched is None else ChosenModel(*switched)
                    asked = asked_providers(connection, channel_id)
        found = channel_settings.describe(settings, name, chosen, asked, model)
    except (CannotOpen, ValidationError) as exc:
        cannot_start(exc)
    out = Output()
    if as_json:
        out.json(found.record)
    else:
        channel_settings.print_settings(out, found)
