"""`rosey-llm history prompt`: show the prompt that a model was given for an answer."""

from __future__ import annotations

import click

from engine.cli.history import TEXT, Source, channel_option, no, options, reading, selected


@click.command(short_help="Show why the bot said something: the model's prompt.")
@click.argument("request_id", type=TEXT)
@options(channel_option)
def prompt(source: Source, request_id: str, channel: str | None, as_json: bool) -> None:
    """Show why the bot said something: the prompt that the model was given, and how the turn went.

    The prompt is rebuilt from the history; its digest is compared with the one stored at the time.
    `show --ids` prints request ids. Without --channel all rows are searched. --json prints one
    object.
    """
    with reading(source.path) as connection:
        from engine.interfaces.reports import prompt_rebuild
        from engine.interfaces.reports.output import Output, visible
        from storage.queries import turns

        selection = selected(connection, channel)
        found = turns.find(connection, request_id, selection.channel_id)
        if not found:
            near = turns.nearest(connection, request_id)
            no(f'There is no request "{visible(request_id)}".', near)
        if len(found) > 1:
            names = ", ".join(visible(turn.outcome.channel) for turn in found)
            raise click.UsageError(
                f"Several channels have this request id: {names}. Choose one with --channel."
            )
        rebuilt = prompt_rebuild.rebuild(connection, found[0])
        out = Output()
        if as_json:
            out.json(prompt_rebuild.record(rebuilt))
        else:
            prompt_rebuild.print_rebuilt(out, rebuilt)
