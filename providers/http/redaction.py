"""Makes a provider's text fit for people: one short line, without keys and paths of this machine.

Addresses and names of models stay ("/v1/chat/completions", "meta-llama/Llama-3"): they say what is
wrong. A path is hidden if its first folder exists on this machine.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

LONGEST = 200

_KEYS = re.compile(
    r"\b(?:sk|gsk|xai)[-_][\w*.\-]{4,}"
    r"|\b(?:hf|nvapi|pplx|csk|fw|tgp|r8|ghp)[-_](?:[\w\-]{0,80}\*[\w*.\-]*|\w{16,})"
    r"|\bAIza[\w\-*]{8,}"
)
_BEARER = re.compile(r"\bBearer\s+\S+", re.IGNORECASE)
_PATH = re.compile(
    r"(?<![\w/.\\])(?P<sure>file:/*|~|[A-Za-z]:|\\)?[/\\](?![/\\])(?P<first>[\w.\-]+)(?:[/\\][\w.\-]+)+"
)


def cleaned(text: str, secrets: Sequence[str]) -> str:
    """Return a text as one short line without keys and local paths."""
    text = text[: 100 * LONGEST]
    for secret in secrets:
        # Shorter ones are placeholders ("x"); to replace them would spoil ordinary words.
        if len(secret) >= 4:
            text = text.replace(secret, "***")
    text = _BEARER.sub("Bearer ***", _KEYS.sub("***", text))
    text = _PATH.sub(_hidden_if_local, _without_own_folders(text))
    text = "".join(c for c in " ".join(text.split()) if c.isprintable())
    return text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."


def _without_own_folders(text: str) -> str:
    """Hide paths below the home and the working folder, whose names may have spaces."""
    for folder in {str(Path.home()), os.getcwd()}:
        if len(Path(folder).parts) > 2 and folder in text:
            text = re.sub(re.escape(folder) + r"[/\\\w.\-]*", "(path)", text)
    return text


def _hidden_if_local(path: re.Match[str]) -> str:
    local = path["sure"] or os.path.exists(f"/{path['first']}")
    return "(path)" if local else path[0]
