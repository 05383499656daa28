"""Draws the demo's board: three rooms side by side, and below them what happened to the engine."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence

from rich.console import Console
from rich.layout import Layout
from rich.live import Live
from rich.panel import Panel
from rich.text import Text

from engine.interfaces.demo.board import BOT, Board, ShownAnswer
from engine.interfaces.demo.script import FIRST

LEAST_COLUMNS, LEAST_LINES = 80, 24
EVENT_LINES = 6
FRAME_S = 0.08
COLOURS = dict(zip((each.user for each in FIRST), ("cyan", "green", "magenta"), strict=True))
# What stands behind an answer, by its state.
MARKS = {
    "waiting": ("...", "dim"),
    "growing": (" ▌", "dim"),
    "cut": (" ✗", "bold red"),
    "done": ("", ""),
}


@contextlib.asynccontextmanager
async def drawn(board: Board) -> AsyncIterator[None]:
    """Draw the board on the whole terminal, again and again, until the end of the block."""
    console = Console(highlight=False, markup=False, emoji=False)
    with Live(console=console, screen=True, auto_refresh=False) as live:
        drawing = asyncio.create_task(_draw(live, board, console))
        try:
            yield
        finally:
            drawing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await drawing


async def _draw(live: Live, board: Board, console: Console) -> None:
    while True:
        live.update(frame(board, console), refresh=True)
        await asyncio.sleep(FRAME_S)


def frame(board: Board, console: Console) -> Layout:
    """Return one picture of the board, for the console's present size."""
    whole, rooms = Layout(), Layout(name="rooms")
    # The terminal may be made smaller meanwhile.
    width = max(1, console.width // len(board.rooms) - 4)
    height = max(1, console.height - EVENT_LINES - 5)
    shown = {room: _lines(board, room, console, width)[-height:] for room in board.rooms}
    rooms.split_row(*(Layout(_panel(board, room, lines)) for room, lines in shown.items()))
    whole.split_column(
        Layout(_head(board), size=1), rooms, Layout(_events(board), size=EVENT_LINES + 2)
    )
    return whole


def _head(board: Board) -> Text:
    head = Text(no_wrap=True, overflow="ellipsis")
    head.append(" rosey-llm demo ", "reverse bold")
    head.append("  three rooms, one engine, a scripted model  ", "dim")
    if board.engine is not None:
        head.append(f" ● engine {board.engine} ", "bold green")
    elif board.answers:
        head.append(" ✗ no engine ", "bold white on red")
    return head


def _panel(board: Board, room: str, lines: Sequence[Text]) -> Panel:
    is_lost = board.engine is None and bool(board.answers)
    return Panel(
        Text("\n").join(lines),
        title=Text(room, "bold"),
        border_style="red" if is_lost else "blue",
    )


def _lines(board: Board, room: str, console: Console, width: int) -> list[Text]:
    lines: list[Text] = []
    for exchange in board.rooms[room]:
        user = (exchange.user, f"bold {COLOURS[exchange.user]}")
        lines += Text.assemble(user, (": ", "dim"), exchange.question).wrap(console, width)
        lines += _said(board.answers[exchange.request_id]).wrap(console, width)
    return lines


def _said(answer: ShownAnswer) -> Text:
    said = Text.assemble((BOT, "bold"), (": ", "dim"))
    said.append(answer.text.rstrip(), "dim" if answer.state == "cut" else "")
    return said.append(*MARKS[answer.state])


def _events(board: Board) -> Panel:
    lines = [
        Text.assemble(
            (f"{event.at_s:5.1f} s  ", "dim"),
            (f"{event.what:<24}", "bold red" if event.is_crash else "bold"),
            f" {event.note}",
        )
        for event in board.events[-EVENT_LINES:]
    ]
    shown = Text("\n", no_wrap=True, overflow="ellipsis").join(lines)
    return Panel(shown, title=Text("engine", "bold"), border_style="bright_black")
