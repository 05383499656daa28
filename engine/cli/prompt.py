"""Why did it say that? `rosey-llm history prompt`."""

from __future__ import annotations

import click

from engine.cli.history import TEXT, Source, channel_option, no, options, reading, selected


@click.command(short_help="Why did it say that? The prompt that the model was given.")
@click.argument("request_id", type=TEXT)
@options(channel_option)
@click.pass_obj
def prompt(source: Source, request_id: str, channel: str | None, as_json: bool) -> None:
    """Why did it say that? The prompt of a turn, as the model was given it, and how it went.

    It is rebuilt from history, and its digest compared with the one that was kept then. Without
    --channel all rows are looked through. --json: one object.
    """
    with reading(source.path) as connection:
        from engine.interfaces.reports import prompt_rebuild
        from engine.interfaces.reports.output import Output, visible
        from storage.queries import turns

        selection = selected(connection, channel, None, None, None)
        found = turns.find(connection, request_id, selection.channel_id)
        if not found:
            near = turns.nearest(connection, request_id)
            no(f'There is no request "{visible(request_id)}".', near)
        if len(found) > 1:
            names = ", ".join(visible(turn.outcome.channel) for turn in found)
            raise click.UsageError(
                f"Several channels have this request id: {names}; say --channel."
            )
        rebuilt = prompt_rebuild.rebuild(connection, found[0])
        out = Output()
        if as_json:
            out.json(prompt_rebuild.record(rebuilt))
        else:
            prompt_rebuild.print_rebuilt(out, rebuilt)
