"""Runs the demo: on a terminal as a picture, in a pipe as lines; it leaves nothing behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from engine.errors import CannotStart
from engine.interfaces.demo import keys, proof, script
from engine.interfaces.demo.board import Board
from engine.interfaces.demo.command import RunningCommand
from engine.interfaces.demo.demo import Demo
from engine.interfaces.demo.proof import Crash, NotAsPromised, Proof
from engine.interfaces.demo.screen import LEAST_COLUMNS, LEAST_LINES, drawn
from engine.interfaces.program_name import program
from engine.interfaces.reports.output import Output
from storage.errors import StorageError

PIPE_SPEED = 3.0
AFTER_SIGNAL = 128  # plus its number: what a shell reports of a program that a signal has ended
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
AUDIT_READY = r"is at (http://[\w.:]+/\?\S+)"


async def run(speed: float | None) -> int:
    """Play the demo to its end, or until a signal. Return the exit code. Raises CannotStart.

    speed: how many times faster than people read; by default 1, in a pipe `PIPE_SPEED`.
    """
    is_seen = sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
    if is_seen:
        _check_size()
    stage = Stage(speed or (1.0 if is_seen else PIPE_SPEED), is_seen=is_seen)
    playing = asyncio.create_task(stage.play())
    ended_by: list[int] = []

    def end(number: int) -> None:
        if not ended_by:  # a second one must not disturb the cleaning up, which takes moments
            ended_by.append(number)
            playing.cancel()

    for number in ENDING:
        asyncio.get_running_loop().add_signal_handler(number, end, number)
    try:
        return await playing
    except asyncio.CancelledError:
        if not ended_by:
            raise
        # On the last page Ctrl-C is as good as Enter.
        is_over = stage.is_over and ended_by == [signal.SIGINT]
        return 0 if is_over else AFTER_SIGNAL + ended_by[0]


def _check_size() -> None:
    columns, lines = shutil.get_terminal_size()
    if columns < LEAST_COLUMNS or lines < LEAST_LINES:
        raise CannotStart(
            f"The demo needs a terminal of {LEAST_COLUMNS} by {LEAST_LINES} characters; this one "
            f"has {columns} by {lines}. Make it larger, or type `rosey-llm demo | cat`."
        )


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    """Yield a temporary folder, which is removed at the end. Raises CannotStart."""
    try:
        folder = tempfile.TemporaryDirectory(prefix="rosey-llm-demo-")
    except OSError as exc:
        raise CannotStart(
            f"Cannot make a temporary folder: {exc.strerror}. Set TMPDIR to one that is writable."
        ) from exc
    with folder as name:
        yield Path(name)


class Stage:
    """One performance of the demo in a temporary folder.

    is_seen: whether people look at it on a terminal. is_over: all is shown but the audit page.
    """

    def __init__(self, speed: float, *, is_seen: bool) -> None:
        self.is_over = False
        self._speed = speed
        self._is_seen = is_seen
        self._out = Output()

    async def play(self) -> int:
        """Return the exit code: 1 if something was not as promised. Raises CannotStart."""
        silent = keys.silent() if self._is_seen else contextlib.nullcontext()
        with _folder() as folder, silent:
            try:
                crash, found = await self._perform(folder)
            except (NotAsPromised, StorageError) as exc:
                sys.stderr.write(f"Error: {exc}\n")
                return 1
            proof.show(self._out, found, script.CUT, crash)
            self._out.flush()
            self.is_over = not found.doubts
            if self._is_seen:
                await self._show_page(folder, found)
        return 1 if found.doubts else 0

    async def _perform(self, folder: Path) -> tuple[Crash, Proof]:
        board = Board((lambda line: None) if self._is_seen else self._say)
        demo = Demo(folder, board, self._speed, is_seen=self._is_seen)
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(demo.end)
            if self._is_seen:
                await stack.enter_async_context(drawn(board))
            crash = await demo.play()
        return crash, proof.prove(demo.database, script.ALL, script.CUT)

    def _say(self, line: str) -> None:
        self._out.line(line)
        self._out.flush()

    async def _show_page(self, folder: Path, found: Proof) -> None:
        """Serve the audit page, and say where the turn is, until Enter is pressed."""
        self._out.line()
        database = folder / "data" / "rosey-llm.db"
        try:
            page = await RunningCommand.start(
                folder, AUDIT_READY, "audit", "--database", str(database)
            )
        except CannotStart as exc:
            self._out.line((str(exc), "dim"))
            return
        try:
            address, _, token = page.said.partition("?")
            turn = f"{address}turn/{found.prompt.turn.outcome.id}?{token}"
            self._out.line(("The same on the audit page: ", "bold"), (turn, "underline"))
            keys.forget()
            end = f"Enter ends the demo and removes its files. Next: {program()} chat"
            self._out.line((end, "dim"))
            self._out.flush()
            await keys.enter()
        finally:
            await page.end()
