"""`rosey-llm chat`: a conversation in the terminal, or a line in and an answer out in a script."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager

from engine.app import App, url_file
from engine.errors import AlreadyRunning, CannotStart
from engine.settings import Settings
from engine.traffic.bot import Bot, Heard


async def chat(settings: Settings, channel: str, user: str) -> int:
    """Converse until the input ends; 0 where every line had its answer, else 1."""
    async with _bot(settings, channel, user) as bot:
        terminal = Terminal(bot, settings.service.bot_name, user)
        return await terminal.run()


@asynccontextmanager
async def _bot(settings: Settings, channel: str, user: str) -> AsyncIterator[Bot]:
    """A bot that is heard: by the service that runs already, or by one started for it."""
    async with AsyncExitStack() as stack:
        if settings.nats.url != "embedded":
            bot = await _connected(stack, settings, settings.nats.url, channel, user)
            if not await bot.anybody_there():
                await _start_app(stack, settings)
            yield bot
            return
        try:
            url = (await _start_app(stack, settings)).url
        except AlreadyRunning:
            url = _running_url(settings)
        yield await _connected(stack, settings, url, channel, user)


async def _start_app(stack: AsyncExitStack, settings: Settings) -> App:
    app = App(settings)
    await app.start()
    stack.push_async_callback(app.drain)
    return app


async def _connected(
    stack: AsyncExitStack, settings: Settings, url: str, channel: str, user: str
) -> Bot:
    try:
        bot = await Bot.connect(settings.nats, url, channel, user)
    except ConnectionError as exc:
        raise CannotStart(str(exc)) from exc
    stack.push_async_callback(bot.close)
    return bot


def _running_url(settings: Settings) -> str:
    try:
        return url_file(settings).read_text().strip()
    except OSError as exc:
        raise CannotStart(f"A service is running, but not where to be found: {exc}") from exc


class Terminal:
    """Reads lines, shows answers while they are written."""

    def __init__(self, bot: Bot, bot_name: str, user: str) -> None:
        self._bot = bot
        self._interactive = sys.stdin.isatty()
        self._prompt = f"{user}> " if self._interactive else ""
        self._label = f"{bot_name}: " if self._interactive else ""
        self._answering = False
        self._shown = ""
        self._failures = 0

    async def run(self) -> int:
        loop = asyncio.get_running_loop()
        if self._interactive:
            with contextlib.suppress(ImportError):  # there is none for Windows
                import readline  # noqa: F401 - it gives `input` its line editing
            loop.add_signal_handler(signal.SIGINT, self._on_interrupt)
            _show("Talk to me. Ctrl-C stops an answer, Ctrl-D leaves, !chat help tells more.\n")
        async for line in self._lines():
            text = line.strip()
            if text.split(maxsplit=1)[:1] == ["!chat"]:
                text = text.removeprefix("!chat").strip()
            elif not text:
                continue
            await self._converse(text)
        if self._interactive:
            loop.remove_signal_handler(signal.SIGINT)
            _show("\n")
        return 1 if self._failures else 0

    async def _lines(self) -> AsyncIterator[str]:
        """Lines of standard input. Each is read by a thread of its own that may be left behind:
        a thread that waits for the keyboard cannot be stopped.
        """
        loop = asyncio.get_running_loop()
        while True:
            line: asyncio.Future[str | None] = loop.create_future()
            threading.Thread(
                target=_read_line, args=(self._prompt, loop, line), daemon=True
            ).start()
            text = await line
            if text is None:
                return
            yield text

    async def _converse(self, line: str) -> None:
        self._answering, self._shown = True, ""
        try:
            async with aclosing(self._bot.ask(line)) as heard:
                async for values in heard:
                    self._take(values)
        except TimeoutError:
            self._fail("There was no answer.")
        finally:
            self._answering = False

    def _take(self, values: Heard) -> None:
        match values["type"]:
            case "llm_delta":
                if values["index"] == 0 and self._shown:
                    _show("\n")  # the answer is written once more, from its start
                    self._shown = ""
                self._more(values["delta"])
            case "llm_response":
                # Deltas come by another subscription and may be behind; the answer is whole.
                content = values["content"]
                if content.startswith(self._shown):
                    self._more(content[len(self._shown) :])
                else:
                    _show("\n")
                    self._shown = ""
                    self._more(content)
                _show("\n")
            case "llm_error" if values["code"] == "cancelled":
                _show(" [stopped]\n")
            case "llm_error":
                if self._shown:
                    _show("\n")
                self._fail(values["error"])

    def _more(self, text: str) -> None:
        _show(text if self._shown else self._label + text)
        self._shown += text

    def _fail(self, error: str) -> None:
        self._failures += 1
        sys.stderr.write(f"Error: {error}\n")

    def _on_interrupt(self) -> None:
        if not self._answering:
            _show(f"\n(Ctrl-D leaves)\n{self._prompt}")
            return
        self._stopping = asyncio.ensure_future(self._bot.stop())


def _read_line(
    prompt: str, loop: asyncio.AbstractEventLoop, line: asyncio.Future[str | None]
) -> None:
    text: str | None
    try:
        text = input(prompt)
    except (EOFError, UnicodeDecodeError):
        text = None
    with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
        loop.call_soon_threadsafe(_hand_over, line, text)


def _hand_over(line: asyncio.Future[str | None], text: str | None) -> None:
    if not line.done():
        line.set_result(text)


def _show(text: str) -> None:
    # What a model writes must not steer the terminal.
    sys.stdout.write("".join(c for c in text if c.isprintable() or c in "\n\t"))
    sys.stdout.flush()
