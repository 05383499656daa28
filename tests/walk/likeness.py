"""What two runs of the same walk have in common: all but numbers, names by chance, and answers."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tests.walk.script import Step


def skeleton(steps: Sequence[Step]) -> list[str]:
    """The steps without what differs from run to run: times, ids, digests, the model's words."""
    answers = [line for step in steps if _asks(step) for line in step.printed.splitlines()]
    return [_bare(f"$ {step.command}\n{step.printed}", answers) for step in steps]


def _asks(step: Step) -> bool:
    return "rosey-llm chat" in step.command


def _bare(text: str, answers: Sequence[str]) -> str:
    for number, answer in enumerate(answers):
        if len(answer) > 3:
            text = text.replace(answer, f"<answer {chr(ord('a') + number)}>")
    text = re.sub(r"\b[0-9a-f]{8,}\b", "<hex>", text)
    text = re.sub(r"\d+(?:[.,:]\d+)*", "0", text)
    text = re.sub(r"[-─━═]{3,}", "---", text)
    return re.sub(r"[ \t]+", " ", re.sub(r"[ \t]+$", "", text, flags=re.MULTILINE))
