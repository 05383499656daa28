"""Sends one question after the other to the service, and shows the answers."""

from __future__ import annotations

import asyncio
import contextlib

from engine.client.client import Client
from engine.client.pieces import Pieces
from engine.errors import LLMError
from engine.interfaces.terminal.answer_screen import AnswerScreen
from engine.interfaces.terminal.service_client import ServiceGone, next_piece

ANSWER_TIMEOUT_S = 900.0
STOP_TIMEOUT_S = 2.0


class Questions:
    """The questions of a person in a channel.

    - `asking`: an answer is awaited or being written
    - `failures`: how many questions got no whole answer
    """

    def __init__(
        self, screen: AnswerScreen, channel: str, user: str, *, is_conversation: bool
    ) -> None:
        self.asking = False
        self.failures = 0
        self._screen = screen
        self._channel = channel
        self._user = user
        self._is_conversation = is_conversation
        self._task: asyncio.Task[object] | None = None
        self._stop: asyncio.Task[None] | None = None

    async def ask(
        self, client: Client, text: str, *, is_command: bool = True, is_shown: bool = True
    ) -> None:
        """Ask and show the answer.

        - `is_command`: whether the text may be a command, such as `reset`
        - `is_shown`: else only an error is shown
        """
        self.asking, self._task, self._stop = True, asyncio.current_task(), None
        if is_shown:
            self._screen.begin()
        send = client.stream_command if is_command else client.stream
        try:
            async with send(
                text, self._channel, username=self._user, timeout_s=ANSWER_TIMEOUT_S
            ) as pieces:
                await self._read(client, pieces, is_shown=is_shown)
            # Last: what interrupts the lines above finds an answer whose line has not ended.
            if is_shown:
                self._screen.end()
        except LLMError as exc:
            if exc.code == "cancelled" and self._is_conversation:
                self._screen.end("[stopped]")
            else:
                self.fail(str(exc))
        except ServiceGone:
            self.fail("The service stopped before it answered.")
        except asyncio.CancelledError:
            if self._is_given_up():
                self._screen.end("[stopped]")
                return
            self._screen.break_off()
            await self._send_stop(client)
            raise
        finally:
            self.asking = False

    def stop(self, client: Client) -> None:
        """Ask the service to stop the answer; if it was asked before, do not wait for it."""
        if self._stop is None:
            self._stop = asyncio.ensure_future(self._send_stop(client))
        elif self._task is not None:
            self._task.cancel()

    async def _send_stop(self, client: Client) -> None:
        # The process may end next, and the service with it, so wait for what it says.
        with contextlib.suppress(LLMError):
            await client.stop(self._channel, username=self._user, timeout_s=STOP_TIMEOUT_S)

    def _is_given_up(self) -> bool:
        """Return whether `stop` has cancelled the task, and nobody else."""
        return self._stop is not None and self._task is not None and self._task.uncancel() == 0

    async def _read(self, client: Client, pieces: Pieces, *, is_shown: bool) -> None:
        restarts = 0
        while (piece := await next_piece(client, pieces)) is not None:
            if is_shown:
                if pieces.restarts != restarts:
                    restarts = pieces.restarts
                    self._screen.restart()
                self._screen.append(piece)

    def fail(self, error: str) -> None:
        """Count a question without an answer, and say why there is none."""
        self.failures += 1
        self._screen.break_off()
        self._screen.note(f"Error: {error}")
