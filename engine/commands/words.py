"""The words of the engine's own answers to commands.

Each begins with the word that the user typed. Each is one line without Markdown, because some rooms
show nothing else, and none begins with "!chat": a bot that hears itself would take it as a command.
"""

from __future__ import annotations

from collections.abc import Sequence

HELP = (
    "Help: !chat TEXT talks to me; !chat reset starts a new conversation; "
    "!chat persona lists the personas; !chat persona NAME switches to one; "
    "!chat stop stops the answer that is being written; !chat help shows this."
)
STOPPED = "Stopped."  # the answer to the stop; that of the stopped message is `answer_stopped`
NOTHING_TO_STOP = "Stop: no answer is being written."
STOPPING_ALREADY = "Stop: this answer is being stopped already."
NOT_STOPPED = "Stop failed: the service ended first, and the answer starts again."


def answer_stopped(name: str) -> str:
    return f"The answer to {name} was stopped."


def conversation_reset(messages: int) -> str:
    counted = "1 message" if messages == 1 else f"{messages} messages"
    return f"Conversation reset: {counted} cleared."


def persona_switched(name: str) -> str:
    return f"Persona: {name} from now on."


def personas_listed(current: str, names: Sequence[str]) -> str:
    others = ", ".join(name for name in names if name != current)
    return f"Persona: {current}. Others: {others}. Switch with: !chat persona NAME"
