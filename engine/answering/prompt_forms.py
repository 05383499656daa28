"""The forms of a prompt: how the bytes of a prompt follow from its parts.

A row of the history names the form of its prompt (`details.prompt_form`), so that the prompt can be
rebuilt and its digest compared for ever. A form that was released is never changed or removed:
whatever changes the bytes is a new form, with a function in FORMS and a test that freezes its
bytes. Which exchanges are shown is no matter of the form: the history has their number.

1  rosey-llm 0.1.0; also the form of rows that name none
2  speakers' names without invisible characters, never cut inside of a character with its accents;
   a persona whose prompt is blank has no system message
3  the persona's prompt has placeholders (`engine/config/placeholders.py`), and a hint of the
   channel's rule follows it
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import orjson

from engine.config.placeholders import CHANNEL, PLATFORM, filled
from providers.encoded_prompt import EncodedPrompt
from providers.invisible import is_blank, without_invisible

EncodedExchange = tuple[bytes, bytes, bytes]
"""A message and its answer for a prompt: (username, message, answer), each as a JSON string."""

CURRENT = 3
TEMPLATES = 3  # the first form whose prompts have placeholders
LONGEST_NAME = 64
NAMELESS = "User"
NO_PLATFORM = "chat"
_SYSTEM = b'{"role":"system","content":'
_USER = b'{"role":"user","content":'
_ASSISTANT = b'{"role":"assistant","content":'
_PLAIN_NAME = re.compile(r"[!-~]{1,64}")
_SKIN_TONES = range(0x1F3FB, 0x1F400)


class PromptParts(NamedTuple):
    """What a prompt is made of. `system` is what `system_text` returns, `text` the new message."""

    system: str
    exchanges: Sequence[EncodedExchange]
    username: str
    text: str


class UnknownForm(Exception):
    """A newer version made the prompt."""


def render(parts: PromptParts, form: int = CURRENT) -> EncodedPrompt:
    """Return the prompt in a form. Raises UnknownForm."""
    if form not in FORMS:
        raise UnknownForm(
            f"The prompt has form {form}, which a newer version of rosey-llm made. "
            "Use that version to rebuild it."
        )
    return FORMS[form](parts)


def system_text(persona: str, hint: str, channel_id: str, form: int = CURRENT) -> str:
    """Return the text of the system message: the persona's prompt, and the rule's hint.

    It is the same for all messages of a channel, so that their prompts begin with the same bytes.
    """
    if form < TEMPLATES:
        return persona
    if "{" in persona or "{" in hint:
        values = _names(channel_id)
        persona, hint = filled(persona, values), filled(hint, values)
    if is_blank(hint):
        return persona
    return hint if is_blank(persona) else f"{persona}\n\n{hint}"


def _names(channel_id: str) -> dict[str, str]:
    """Return the values of a channel's placeholders: "irc/#lobby" is #lobby on irc."""
    platform, slash, channel = channel_id.partition("/")
    if not slash or is_blank(platform) or is_blank(channel):
        platform, channel = NO_PLATFORM, channel_id
    return {CHANNEL: shown_name(channel), PLATFORM: shown_name(platform)}


def form_of(details: Mapping[str, Any]) -> int:
    """Return the form that the details of a row name."""
    return int(details.get("prompt_form", 1))


def several_speak(exchanges: Sequence[EncodedExchange], username: str) -> bool:
    """Return whether a user other than `username` speaks in these exchanges."""
    name = orjson.dumps(username)
    for speaker, _, _ in exchanges:  # noqa: SIM110 - twice as fast as any()
        if speaker != name:
            return True
    return False


def shown_name(username: str) -> str:
    """Return a user's name as the current form shows it: one visible line of at most 64 characters.

    A name without a visible character becomes the name of a user without one.
    """
    if _PLAIN_NAME.fullmatch(username):
        return username
    name = " ".join(without_invisible(username).split())
    return _cut(name).rstrip() or NAMELESS


def _form_1(parts: PromptParts) -> EncodedPrompt:
    return _layout(parts, bool(parts.system), lambda name: " ".join(name.split())[:64])


def _form_2(parts: PromptParts) -> EncodedPrompt:
    return _layout(parts, has_system_message(parts.system), shown_name)


def has_system_message(system: str) -> bool:
    """Return whether the current form has a system message for a persona's prompt."""
    return not is_blank(system)


def _layout(parts: PromptParts, has_system: bool, shown: Callable[[str], str]) -> EncodedPrompt:
    """System prompt, exchanges, new message; with several speakers each is named in front."""
    system, exchanges, username, text = parts
    several = several_speak(exchanges, username)
    names: dict[bytes, str] = {}  # a few speakers have said all of it
    encoded = [_SYSTEM, orjson.dumps(system), b"},"] if has_system else []
    for speaker, message, answer in exchanges:
        if several:
            if (name := names.get(speaker)) is None:
                name = names[speaker] = shown(orjson.loads(speaker))
            message = _with_name(name, message)
        encoded += _USER, message, b"},", _ASSISTANT, answer, b"},"
    text_json = orjson.dumps(text)
    encoded += _USER, _with_name(shown(username), text_json) if several else text_json, b"}"
    return EncodedPrompt(b"[%b]" % b"".join(encoded), has_system + 2 * len(exchanges) + 1)


def _with_name(name: str, text: bytes) -> bytes:
    """Return a text's JSON string with the speaker's name in front of the text."""
    return orjson.dumps(f"{name}: ")[:-1] + text[1:]


def _cut(name: str) -> str:
    """Cut a long name, but not between a letter and its accents, or an emoji and its skin tone."""
    end = LONGEST_NAME
    if len(name) <= end:
        return name
    while end and _belongs_to_the_one_before(name[end]):
        end -= 1
    return name[: end or LONGEST_NAME]  # nothing but accents: there is no letter to keep whole


def _belongs_to_the_one_before(character: str) -> bool:
    return unicodedata.category(character)[0] == "M" or ord(character) in _SKIN_TONES


FORMS: Mapping[int, Callable[[PromptParts], EncodedPrompt]] = {1: _form_1, 2: _form_2, 3: _form_2}
