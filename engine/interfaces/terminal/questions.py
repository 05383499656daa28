"""Sends one question after the other to the service, and shows the answers."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

from engine.interfaces.terminal.answer_screen import AnswerScreen
from engine.traffic.chat_client import ChatClient, Received, ServiceGone, TextTooLong


class Questions:
    """The questions of a chat.

    - `asking`: an answer is awaited or being written
    - `failures`: how many questions got no whole answer
    """

    def __init__(self, screen: AnswerScreen, *, is_conversation: bool) -> None:
        self.asking = False
        self.failures = 0
        self._screen = screen
        self._is_conversation = is_conversation
        self._task: asyncio.Task[object] | None = None
        self._stop: asyncio.Task[None] | None = None

    async def ask(
        self, client: ChatClient, text: str, *, is_command: bool = True, is_shown: bool = True
    ) -> None:
        """Ask and show the answer.

        - `is_command`: whether the text may be a command, such as `reset`
        - `is_shown`: else only an error is shown
        """
        self.asking, self._task, self._stop = True, asyncio.current_task(), None
        if is_shown:
            self._screen.begin()
        try:
            async with aclosing(client.ask(text, is_command=is_command)) as messages:
                async for values in messages:
                    if is_shown or values["type"] == "llm_error":
                        self._show(values)
        except TimeoutError:
            self.fail("No answer came in time.")
        except ServiceGone:
            self.fail("The service stopped before it answered.")
        except TextTooLong as exc:
            self.fail(str(exc))
        except asyncio.CancelledError:
            if self._is_given_up():
                self._screen.end("[stopped]")
                return
            self._screen.break_off()
            await client.stop()
            raise
        finally:
            self.asking = False

    def stop(self, client: ChatClient) -> None:
        """Ask the service to stop the answer; if it was asked before, do not wait for it."""
        if self._stop is None:
            self._stop = asyncio.ensure_future(client.stop())
        elif self._task is not None:
            self._task.cancel()

    def _is_given_up(self) -> bool:
        """Return whether `stop` has cancelled the task, and nobody else."""
        return self._stop is not None and self._task is not None and self._task.uncancel() == 0

    def _show(self, values: Received) -> None:
        screen = self._screen
        match values["type"]:
            case "llm_delta":
                if values["index"] == 0:
                    screen.restart()  # the answer begins again
                screen.append(values["delta"])
            case "llm_response":
                # Deltas come by another subscription and may be late; the answer is complete.
                content = values["content"]
                if not content.startswith(screen.shown):
                    screen.restart()
                screen.append(content[len(screen.shown) :])
                screen.end()
            case "llm_error" if values["code"] == "cancelled" and self._is_conversation:
                screen.end("[stopped]")
            case "llm_error":
                self.fail(values["error"])

    def fail(self, error: str) -> None:
        """Count a question without an answer, and say why there is none."""
        self.failures += 1
        self._screen.break_off()
        self._screen.note(f"Error: {error}")
