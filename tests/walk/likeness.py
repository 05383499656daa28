"""Removes from recorded steps what differs between runs, so that two runs can be compared."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tests.walk.script import Step


def skeleton(steps: Sequence[Step]) -> list[str]:
    """Return each step as text, without numbers, ids, digests and the model's answers."""
    answers = [line for step in steps if _is_chat(step) for line in step.printed.splitlines()]
    return [_normalized(f"$ {step.command}\n{step.printed}", answers) for step in steps]


def _is_chat(step: Step) -> bool:
    return "rosey-llm chat" in step.command


def _normalized(text: str, answers: Sequence[str]) -> str:
    for number, answer in enumerate(answers):
        if len(answer) > 3:
            text = text.replace(answer, f"<answer {chr(ord('a') + number)}>")
    # Another service of this machine may have the usual port.
    text = re.sub(r"^Note: Port \d+ is taken by .*\n", "", text, flags=re.MULTILINE)
    text = re.sub(r"\b[0-9a-f]{8,}\b", "<hex>", text)
    text = re.sub(r"\d+(?:[.,:]\d+)*", "0", text)
    text = re.sub(r"\b(?:0[dhm])+0s", "0s", text)  # a busy machine needs more than a minute
    text = re.sub(r"[-─━═]{3,}", "---", text)
    return re.sub(r"[ \t]+", " ", re.sub(r"[ \t]+$", "", text, flags=re.MULTILINE))
