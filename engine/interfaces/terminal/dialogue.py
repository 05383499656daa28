"""The course of a chat: texts are read, asked and answered, until the input ends."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from functools import partial
from typing import TYPE_CHECKING

from engine.client.client import Client
from engine.config.settings import Settings
from engine.interfaces.terminal import greeting, line_input
from engine.interfaces.terminal.answer_screen import AnswerScreen
from engine.interfaces.terminal.chat_options import ChatOptions
from engine.interfaces.terminal.control_characters import harmless
from engine.interfaces.terminal.log_lines import log_lines
from engine.interfaces.terminal.questions import Questions
from engine.interfaces.terminal.service_client import is_gone
from engine.interfaces.terminal.type_ahead import TypeAhead

if TYPE_CHECKING:
    from engine.interfaces.terminal.line_editor import LineEditor

HINT = "(Ctrl-D leaves)"
NO_QUESTION = "There is no question: the input is empty."


class Dialogue:
    """A conversation with a person at a terminal, or answers to a pipe or to a single question.

    - `connect`: gives a client of a running service; called again if the service has gone
    - `type_ahead`: has a person's terminal until this leaves; None if it cannot be had
    - `listening`: a person is at the terminal and has not left
    - `leaving`: no more lines are read
    - `warned`: Ctrl-C was pressed while leaving; the next one exits at once
    """

    def __init__(
        self,
        connect: Callable[[], AbstractAsyncContextManager[Client]],
        settings: Settings,
        channel: str,
        options: ChatOptions,
        type_ahead: TypeAhead | None,
    ) -> None:
        self.listening = self.leaving = self.warned = False
        self._connect = connect
        self._settings = settings
        self._channel = channel
        self._options = options
        self._type_ahead = type_ahead
        self._is_conversation = talks = options.is_conversation
        self._client: Client | None = None
        self._began = False
        bot = settings.service.bot_name
        self._screen = AnswerScreen(f"{bot}: " if talks else "", f"{bot} is thinking ...")
        self._questions = Questions(self._screen, channel, options.user, is_conversation=talks)
        self._prompt = harmless(options.user).replace("\n", " ") + "> "
        self._piped = line_input.Piped()
        self._lines: line_input.PlainLines | line_input.Piped | LineEditor = self._piped
        self._editor: LineEditor | None = None

    async def run(self) -> int:
        with log_lines(self._note) if self._is_conversation else nullcontext():
            if self._is_conversation:
                self._prepare_prompt()
            text = await self._question() if self._options.asks_once else ""
            while text is not None:
                async with self._connect() as self._client:
                    await self._begin(self._client)
                    self.listening = self._is_conversation
                    text = await self._talk(self._client, text)
                    self.listening = False
                    if text is None:
                        self.leave()
        return 1 if self._questions.failures and not self._is_conversation else 0

    def leave(self) -> None:
        """Read no more, and give the terminal back: what still runs may take a while."""
        self.leaving = True
        if self._type_ahead is not None:
            self._type_ahead.leave()

    def interrupt(self) -> None:
        """Do what Ctrl-C asks for: stop an answer, or clear the line."""
        if self._questions.asking and self._client is not None:
            self._questions.stop(self._client)
        elif self._editor is not None:
            self._editor.interrupt()
        else:
            self._screen.say(f"\n{HINT}")
            self._screen.prompt(self._prompt)

    def _prepare_prompt(self) -> None:
        """Take the editor for the prompt, if the terminal can move its cursor."""
        self._lines = line_input.PlainLines(self._prompt)
        if self._type_ahead is None:
            return
        try:
            from engine.interfaces.terminal.line_editor import LineEditor
        except ImportError:  # not available on Windows
            return
        words = greeting.words(self._settings)
        explain = partial(self._screen.say, HINT)
        self._editor = LineEditor(self._prompt, words, self._type_ahead, explain)
        self._lines = self._editor

    def _note(self, text: str) -> None:
        """Show a log line, wherever the cursor is."""
        if self._editor is not None:
            self._editor.show(lambda: self._screen.note(text))
        else:
            self._screen.note(text)

    async def _question(self) -> str | None:
        """Return the only question; None if it is empty, which counts as failed."""
        rest = await self._piped.rest() if self._options.whole else ""
        text = "\n\n".join(filter(str.strip, (self._options.text, rest.strip("\r\n"))))
        if text:
            return text
        self._questions.fail(NO_QUESTION)
        return None

    async def _begin(self, client: Client) -> None:
        """Greet a person once, and begin the conversation again if that is wished."""
        if self._began:
            return
        self._began = True
        if self._is_conversation:
            self._screen.say(greeting.WELCOME)
            if await greeting.toy_answers(self._settings):
                self._screen.say(greeting.TOY)
        if self._options.new:
            await self._questions.ask(client, "reset", is_shown=self._is_conversation)
        elif self._is_conversation:
            messages = greeting.messages_so_far(self._settings, self._channel)
            if messages:
                self._screen.say(greeting.carried_on(messages, self._channel))

    async def _talk(self, client: Client, text: str | None) -> str | None:
        """Ask `text`, if there is one, and what follows.

        Return None at the end of the input, or the text that could not be sent because the service
        has gone.
        """
        while text is not None:
            if text:
                if await is_gone(client):
                    return text
                is_command = not self._options.asks_once
                await self._questions.ask(client, text, is_command=is_command)
                if self._editor is not None and text.lower() == "help":
                    self._screen.say(greeting.KEYS)
            text = await self._next_text()
        return None

    async def _next_text(self) -> str | None:
        """Return the next text without its `!chat`, "" if it is empty, None at the end."""
        line = None if self._options.asks_once else await self._lines.next()
        if line is None:
            return None
        text = line_input.clean(line).strip()
        if text.lower() in greeting.LEAVING:
            return None
        if text.split(maxsplit=1)[:1] == ["!chat"]:
            # A bare `!chat` asks for help, as it does in a channel.
            return text.removeprefix("!chat").strip() or "help"
        return text
