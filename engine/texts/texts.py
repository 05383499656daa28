"""`Texts`: what the engine says in each room, in the words of the configuration."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from engine.texts.sentence import Said, Sentence, Template
from engine.texts.table import TABLE
from providers.invisible import is_blank
from providers.validation import ValidationError, shown, suggestion

FOR_ALL = ""  # the language of rooms whose rule names none
EXPECTED_LANGUAGE = "expected the name of a language, of letters, digits, - and _"
COMMAND = "!chat"
Language = str


class Texts:
    """The sentences of one service, by language; a reload replaces them all.

    A sentence that a language does not have is that of `[texts]`, else the English one.

    configured: the table `[texts]`, checked: texts by key, and tables of them by language.
    language_of: returns a channel's language; "" for that of `[texts]`.
    """

    def __init__(
        self,
        configured: Mapping[str, Any] | None = None,
        language_of: Callable[[str], Language] | None = None,
    ) -> None:
        self.apply(configured or {}, language_of)

    def apply(
        self, configured: Mapping[str, Any], language_of: Callable[[str], Language] | None = None
    ) -> None:
        """Use these, which have passed `check`, from the next sentence on."""
        worded = {
            language: {key: Template(text) for key, text in _worded(configured, language).items()}
            for language in (FOR_ALL, *languages(configured))
        }
        # One assignment: the database's thread reads it, too.
        self._rooms = (worded, language_of)

    def say(self, channel_id: str, said: Said | None) -> str:
        """Return the sentence in the words of this room; "" for none."""
        if said is None:
            return ""
        worded, language_of = self._rooms
        language = language_of(channel_id) if language_of is not None else FOR_ALL
        return said.worded(worded[language])


def languages(configured: Mapping[str, Any]) -> list[Language]:
    """Return the languages of a table `[texts]`."""
    return [name for name, value in configured.items() if isinstance(value, Mapping)]


def is_language(name: str) -> bool:
    """Return whether a language can have this name."""
    return re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]{0,39}", name) is not None and name not in TABLE


def as_toml(configured: Mapping[str, Any], language: Language = FOR_ALL) -> str:
    """Return the whole table as it is said in a language, as a table of a configuration."""
    lines = [f"[texts.{language}]" if language else "[texts]"]
    for key, text in resolved(configured, language).items():
        sentence = TABLE[key]
        may = " ".join(f"{{{name}}}" for name in sentence.may)
        lines.append(f"# {sentence.when}{f'; may have {may}' if may else ''}")
        lines.append(f"{key} = {_toml_string(text)}")
    return "\n".join(lines) + "\n"


def resolved(configured: Mapping[str, Any], language: Language = FOR_ALL) -> dict[str, str]:
    """Return the whole table as it is said in a language: each key with its text."""
    texts = _worded(configured, language)
    return {key: texts.get(key, sentence.english) for key, sentence in TABLE.items()}


def check(configured: Mapping[str, Any], path: str = "texts") -> None:
    """Raise ValidationError if a key is unknown, or a text has not its placeholders."""
    for key, value in configured.items():
        where = f"{path}.{key}"
        if isinstance(value, Mapping) and key not in TABLE:
            if not is_language(key):
                raise ValidationError(where, EXPECTED_LANGUAGE)
            for inner, text in value.items():
                _check_text(inner, text, f"{where}.{inner}")
        else:
            _check_text(key, value, where)


def _check_text(key: str, text: object, path: str) -> None:
    sentence = TABLE.get(key)
    if sentence is None:
        hint = suggestion(key, list(TABLE)) or "; `rosey-llm config texts` lists them"
        raise ValidationError(path, f"unknown key{hint}")
    if not isinstance(text, str):
        raise ValidationError(path, f"expected a string, got {shown(text)}")
    if is_blank(text):
        raise ValidationError(path, "expected a text, got nothing to see")
    if text.lstrip().lower().startswith(COMMAND):
        problem = f"begins with {COMMAND}: a bot that hears itself would take it as a command"
        raise ValidationError(path, problem)
    if "\0" in text:
        raise ValidationError(path, "expected text, got NUL characters")
    try:
        found = Template(text).placeholders
    except ValueError as exc:
        raise ValidationError(path, str(exc)) from None
    _check_placeholders(sentence, found, path)


def _check_placeholders(sentence: Sentence, found: tuple[str, ...], path: str) -> None:
    known = [*sentence.needed, *sentence.may]
    for name in (each for each in found if each not in sentence.known):
        listed = ", ".join(f"{{{each}}}" for each in known)
        hint = suggestion(name, known) or f"; it {f'may have {listed}' if known else 'has none'}"
        raise ValidationError(path, f"unknown placeholder {{{name}}}{hint}")
    for name in sentence.needed:
        if name not in found:
            raise ValidationError(path, f"the placeholder {{{name}}} is missing")


def _worded(configured: Mapping[str, Any], language: Language) -> dict[str, str]:
    """Return the texts of a language over those of all; English ones are left out."""
    common = {key: text for key, text in configured.items() if isinstance(text, str)}
    found: dict[str, str] = {}
    for texts in (common, configured.get(language, {})):
        found |= texts
        for key in texts:
            one = TABLE[key].one
            if one is not None and one.key not in texts:
                found[one.key] = texts[key]  # else one message would be told in English
    return found


def _toml_string(text: str) -> str:
    # JSON's strings are TOML's, but for one character.
    return orjson.dumps(text).decode().replace("\x7f", "\\u007f")
