"""The prompt of a chat: a line is edited, completed and looked up among earlier ones."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable

from prompt_toolkit import PromptSession
from prompt_toolkit.application import run_in_terminal
from prompt_toolkit.completion import WordCompleter
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.output.vt100 import Vt100_Output
from prompt_toolkit.shortcuts import CompleteStyle

from engine.interfaces.terminal import typed_lines
from engine.interfaces.terminal.type_ahead import TypeAhead
from engine.interfaces.terminal.typed_lines import TypedLines


class LineCleared(Exception):
    """Ctrl-C was pressed at the prompt."""


class LineEditor:
    """A prompt on a terminal that can move its cursor.

    - `words`: what the Tab key completes
    - `type_ahead`: has the terminal between two prompts
    - `explain`: called if Ctrl-C is pressed at an empty prompt
    """

    def __init__(
        self,
        prompt: str,
        words: Iterable[str],
        type_ahead: TypeAhead,
        explain: Callable[[], None],
    ) -> None:
        self._type_ahead = type_ahead
        self._explain = explain
        output = Vt100_Output.from_pty(sys.stdout, term=os.environ.get("TERM"))
        # Not every terminal says where its cursor is, and nothing here needs to know.
        output.enable_cpr = False
        self._session: PromptSession[str] = PromptSession(
            prompt,
            history=TypedLines(typed_lines.path()),
            completer=WordCompleter(list(words), sentence=True, ignore_case=True),
            complete_style=CompleteStyle.READLINE_LIKE,
            complete_while_typing=False,
            enable_suspend=True,
            key_bindings=_keys(),
            interrupt_exception=LineCleared,
            output=output,
        )

    async def next(self) -> str | None:
        """Return the next line, which may have line feeds; None at the end."""
        while True:
            try:
                return await self._session.prompt_async(handle_sigint=False)
            except LineCleared:
                if not self._session.default_buffer.text:
                    self._explain()
            except EOFError:
                return None
            finally:
                self._type_ahead.be_quiet()

    def interrupt(self) -> None:
        """Do what Ctrl-C does, after a signal that no key has sent."""
        if self._session.app.is_running:
            self._session.app.exit(exception=LineCleared())

    def show(self, write: Callable[[], None]) -> None:
        """Call `write` so that what it writes does not get into the prompt."""
        if self._session.app.is_running:
            run_in_terminal(write)
        else:
            write()


def _keys() -> KeyBindings:
    keys = KeyBindings()

    @keys.add("escape", "enter")
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.newline(copy_margin=False)

    return keys
