"""Placeholders in the prompts of personas and in hints: {bot_name}, {channel}, {platform}.

Only braces around one word count. "{{word}}" stands for the text "{word}"; all other braces, as in
JSON, are text. The bot's name is put in when the configuration is read, the others for each
channel (`engine/answering/prompt_forms.py`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from providers.validation import ValidationError

BOT_NAME, CHANNEL, PLATFORM = "bot_name", "channel", "platform"
KNOWN = (BOT_NAME, CHANNEL, PLATFORM)
_WORD = r"[A-Za-z_][A-Za-z0-9_]*"
_SIGN = re.compile(rf"\{{\{{({_WORD})\}}\}}|\{{({_WORD})\}}")


def check(text: str, path: str, bot_name: str) -> None:
    """Raise ValidationError if a placeholder is unknown, or the bot that it names has no name."""
    for found in _SIGN.finditer(text):
        name = found[2]
        if name == BOT_NAME and not bot_name:
            raise ValidationError(path, "contains {bot_name}, but service.bot_name is empty")
        if name is not None and name not in KNOWN:
            raise ValidationError(
                path,
                f"unknown placeholder {{{name}}}; there are {{bot_name}}, {{channel}} and "
                f"{{platform}}. For the text {{{name}}} itself write {{{{{name}}}}}",
            )


def with_bot_name(text: str, bot_name: str) -> str:
    """Return the text with the bot's name in its places; all else stays."""
    if "{" not in text:
        return text
    return _SIGN.sub(lambda found: bot_name if found[2] == BOT_NAME else found[0], text)


def filled(text: str, values: Mapping[str, str]) -> str:
    """Return the text with these values, and with "{word}" for "{{word}}"."""
    if "{" not in text:
        return text
    return _SIGN.sub(
        lambda found: f"{{{found[1]}}}" if found[1] else values.get(found[2], found[0]), text
    )


def doubled(text: str) -> list[str]:
    """Return the texts "{{word}}" in it."""
    return [found[0] for found in _SIGN.finditer(text) if found[1]]
