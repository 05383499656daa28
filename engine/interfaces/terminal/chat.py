"""`rosey-llm chat`: a conversation in the terminal, or one answer per line of a pipe."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing, asynccontextmanager
from functools import partial
from pathlib import Path

from engine.app import App, build_app, url_file
from engine.config.settings import Settings
from engine.errors import EXIT_INTERRUPTED, AlreadyRunning, CannotStart
from engine.interfaces.terminal import line_input
from engine.interfaces.terminal.control_characters import for_stream
from engine.traffic.chat_client import ChatClient, LineTooLong, Received, ServiceGone

Start = Callable[[AsyncExitStack], Awaitable[App]]
FIND_LIMIT_S = 30.0
FIND_PAUSE_S = 0.2
TRY_S = 2.0


async def chat(settings: Settings, channel: str, user: str, config: Path | None = None) -> int:
    """Converse until the input ends. Return the exit code.

    0 if every line was answered, 1 if not, 130 if Ctrl-C ended it. A service that was started for
    this chat is drained on return; `config` is the file that it reloads.
    """
    line_input.tolerate_odd_bytes()
    channel, user = line_input.clean(channel), line_input.clean(user)
    start = partial(_start_app, settings, config)
    terminal = Terminal(
        lambda: _client(settings, channel, user, start), settings.service.bot_name, user
    )
    talking = asyncio.create_task(terminal.run())
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, _on_interrupt, terminal, talking)
    try:
        return await talking
    except asyncio.CancelledError:
        if not terminal.leaving:
            raise
        return EXIT_INTERRUPTED
    finally:
        loop.remove_signal_handler(signal.SIGINT)


def _on_interrupt(terminal: Terminal, talking: asyncio.Task[int]) -> None:
    """On Ctrl-C, stop the answer or leave; while leaving, warn once, then exit at once."""
    if terminal.warned:
        os._exit(EXIT_INTERRUPTED)
    elif terminal.leaving:
        terminal.warned = True
        sys.stderr.write("Finishing running answers; press Ctrl-C again to exit at once.\n")
    elif terminal.listening:
        terminal.stop_or_explain()
    else:
        terminal.leaving = terminal.warned = True
        talking.cancel()


@asynccontextmanager
async def _client(
    settings: Settings, channel: str, user: str, start: Start
) -> AsyncIterator[ChatClient]:
    """Yield a client of the running service; start a service if none is running."""
    async with AsyncExitStack() as stack:
        if settings.nats.url != "embedded":
            client = await _connect(stack, settings, settings.nats.url, channel, user)
            if not await client.service_answers():
                await start(stack)
        else:
            client = await _find_or_start(stack, settings, channel, user, start)
        yield client


async def _find_or_start(
    stack: AsyncExitStack, settings: Settings, channel: str, user: str, start: Start
) -> ChatClient:
    """Start a service, or find one that another process is just starting or stopping.

    Raises CannotStart if neither succeeds within `FIND_LIMIT_S`.
    """
    clock = asyncio.get_running_loop().time
    deadline_s = clock() + FIND_LIMIT_S
    while True:
        try:
            app = await start(stack)
            return await _connect(stack, settings, app.url, channel, user)
        except AlreadyRunning as exc:
            running = exc
        if client := await _find(stack, settings, channel, user):
            return client
        if clock() > deadline_s:
            raise CannotStart(f"A service is running, but does not answer. {running}") from running
        await asyncio.sleep(FIND_PAUSE_S)


async def _find(
    stack: AsyncExitStack, settings: Settings, channel: str, user: str
) -> ChatClient | None:
    """Return a client of the running service, or None if it cannot be reached."""
    try:
        url = url_file(settings).read_text().strip()
        client = await ChatClient.connect(settings.nats, url, channel, user, TRY_S)
    except (OSError, ValueError):  # no file, half a URL, no server
        return None
    if await client.service_answers():
        stack.push_async_callback(client.close)
        return client
    await client.close()
    return None


async def _start_app(settings: Settings, config: Path | None, stack: AsyncExitStack) -> App:
    app = build_app(settings, config)
    await app.start()
    stack.push_async_callback(app.drain)
    if problem := app.unheard:
        raise CannotStart(problem)
    return app


async def _connect(
    stack: AsyncExitStack, settings: Settings, url: str, channel: str, user: str
) -> ChatClient:
    try:
        client = await ChatClient.connect(settings.nats, url, channel, user)
    except ConnectionError as exc:
        raise CannotStart(str(exc)) from exc
    stack.push_async_callback(client.close)
    return client


class Terminal:
    """A terminal or pipe that reads lines and shows answers while they are written.

    - `connect`: gives a client of a running service; called again if the service has gone
    - `listening`: a person is at the terminal and has not left
    - `leaving`: no more lines are read
    - `warned`: Ctrl-C was pressed while leaving; the next one exits at once
    """

    def __init__(
        self,
        connect: Callable[[], AbstractAsyncContextManager[ChatClient]],
        bot_name: str,
        user: str,
    ) -> None:
        self.listening = self.leaving = self.warned = False
        self._greeted = False
        self._connect = connect
        self._client: ChatClient | None = None
        self._interactive = line_input.is_interactive()
        self._pipe = line_input.Piped(None if sys.stdin is None else sys.stdin.fileno())
        self._prompt = f"{user}> " if self._interactive else ""
        self._label = f"{bot_name}: " if self._interactive else ""
        self._answering = False
        self._shown = ""
        self._failures = 0

    async def run(self) -> int:
        text: str | None = ""
        while text is not None:
            async with self._connect() as self._client:
                self._greet()
                text = await self._talk(self._client, text)
                self.listening = False
                if text is None:
                    self._leave()
        return 1 if self._failures else 0

    def stop_or_explain(self) -> None:
        if not self._answering or self._client is None:
            _show(f"\n(Ctrl-D leaves)\n{self._prompt}")
            return
        self._stopping = asyncio.ensure_future(self._client.stop())

    def _greet(self) -> None:
        self.listening = self._interactive
        if not self._interactive or self._greeted:
            return
        with contextlib.suppress(ImportError):  # not available on Windows
            import readline  # noqa: F401 - gives `input` its line editing
        self._greeted = True
        _show("Talk to me. Ctrl-C stops an answer, Ctrl-D leaves, !chat help tells more.\n")

    def _leave(self) -> None:
        self.leaving = True
        if self._interactive:
            _show("\n")

    async def _talk(self, client: ChatClient, text: str | None) -> str | None:
        """Converse, starting with `text`.

        Return None at the end of the input, or the line that could not be sent because the service
        has gone.
        """
        while text is not None:
            if text:
                if await client.gone():
                    return text
                await self._converse(client, text)
            text = await self._next_line()
        return None

    async def _next_line(self) -> str | None:
        """Return the next line without its `!chat`, "" for an empty line, None at the end."""
        line = await line_input.in_thread(
            (lambda: line_input.read_line(self._prompt)) if self._interactive else self._pipe.next
        )
        if line is None:
            return None
        text = line_input.clean(line).strip()
        if text.split(maxsplit=1)[:1] == ["!chat"]:
            # A bare `!chat` asks for help, as it does in a channel.
            return text.removeprefix("!chat").strip() or "help"
        return text

    async def _converse(self, client: ChatClient, line: str) -> None:
        self._answering, self._shown = True, ""
        try:
            async with aclosing(client.ask(line)) as messages:
                async for values in messages:
                    self._show_message(values)
        except TimeoutError:
            self._fail("No answer came in time.")
        except ServiceGone:
            self._fail("The service stopped before it answered.")
        except LineTooLong as exc:
            self._fail(str(exc))
        except asyncio.CancelledError:
            await client.stop()
            raise
        finally:
            self._answering = False

    def _show_message(self, values: Received) -> None:
        match values["type"]:
            case "llm_delta":
                if values["index"] == 0 and self._shown:
                    _show("\n")  # the answer starts again from its beginning
                    self._shown = ""
                self._append(values["delta"])
            case "llm_response":
                # Deltas come by another subscription and may be late; the answer is complete.
                content = values["content"]
                if content.startswith(self._shown):
                    self._append(content[len(self._shown) :])
                else:
                    _show("\n")
                    self._shown = ""
                    self._append(content)
                _show("\n")
            case "llm_error" if values["code"] == "cancelled":
                _show(" [stopped]\n")
            case "llm_error":
                self._fail(values["error"])

    def _append(self, text: str) -> None:
        _show(text if self._shown else self._label + text)
        self._shown += text

    def _fail(self, error: str) -> None:
        self._failures += 1
        if self._shown:
            _show("\n")
        sys.stderr.write(f"Error: {error}\n")


def _show(text: str) -> None:
    sys.stdout.write(for_stream(text))
    sys.stdout.flush()
