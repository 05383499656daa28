"""Converts the JSON configuration of the plugin that this replaces into rosey-llm.toml.

Values that cannot be converted are left out and noted. Secrets are never copied.
"""

from __future__ import annotations

import copy
import dataclasses
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_type_hints
from urllib.parse import urlsplit

from engine.config import loading
from engine.config.personas import Persona
from engine.config.settings import KEYED, Settings
from engine.config.setup.example import Example
from providers import registry
from providers.base import ProviderConfig
from providers.validation import Secret, ValidationError, shown, suggestion

KeyPath = tuple[str, ...]
ConvertTable = Callable[[KeyPath, object], None]

REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*|file:[^}]+)\}")
PLACEHOLDER = "x"
SECRETS = {"api_key", "password", "token"}
# The plugin's limits were for `rosey.llm.*` alone.
RATE_LIMITS = {
    "requests_per_minute": "user_per_minute",
    "requests_per_hour": "user_per_hour",
    "requests_per_day": "user_per_day",
}
TOKENS_PER_DAY = "tokens_per_day"


@dataclass(frozen=True, slots=True)
class Converted:
    """The result of a conversion.

    carried: each key path with its value.
    notes: what was left out or changed, and why.
    """

    carried: Sequence[tuple[KeyPath, Any]]
    notes: Sequence[str]

    def text(self, title: str, folder: Path) -> str:
        """Return the shipped file with these values, and `title` as its first comment.

        Raises ValidationError if each value is valid by itself, but not all of them together.
        """
        example = Example()
        there, tables = example.values, dict[KeyPath, dict[str, Any]]()
        for path, value in self.carried:
            if path[0] in ("personas", "providers") and path[1] not in there.get(path[0], {}):
                tables.setdefault(path[:-1], {})[path[-1]] = value
            else:
                example.put(path, value)
        example.add(tables)
        loading.parse(_with_placeholders(example.values), folder)
        return f"# {_comment(title)}\n{example.text}"


def _comment(text: str) -> str:
    """Return the text without what a comment of TOML must not have: controls and surrogates."""
    return "".join(c for c in text if unicodedata.category(c) not in ("Cc", "Cs"))


def convert(old: Mapping[str, Any], folder: Path) -> Converted:
    """Convert each value that `loading.parse` accepts. Relative paths start at `folder`."""
    return _Conversion(folder).run(old)


class _Conversion:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._carried: dict[KeyPath, Any] = {}
        # The same values with a placeholder for each secret, so that no variable need be set here.
        self._checked: dict[str, Any] = {
            "providers": {kind: {"api_key": PLACEHOLDER} for kind in KEYED}
        }
        self._notes: list[str] = []

    def run(self, old: Mapping[str, Any]) -> Converted:
        # Personas and providers come first: other keys refer to them.
        for name in sorted(old, key=lambda name: name not in ("personas", "providers")):
            match name:
                case "personas":
                    self._tables((name,), old[name], self._persona)
                case "providers":
                    self._tables((name,), old[name], self._provider)
                case "rate_limits":
                    self._rate_limits((name,), old[name])
                case _:
                    self._key((), name, old[name], Settings)
        return Converted(list(self._carried.items()), self._notes)

    def _tables(self, path: KeyPath, value: object, each: ConvertTable) -> None:
        if not isinstance(value, Mapping):
            self._leave_out(path, f"expected a table, got {shown(value)}")
            return
        for name, inner in value.items():
            each((*path, name), inner)

    def _persona(self, path: KeyPath, value: object) -> None:
        values = {"prompt": value} if isinstance(value, str) else value
        if not isinstance(values, Mapping):
            self._leave_out(path, f"expected a prompt or a table, got {shown(values)}")
            return
        if "prompt" not in values and "system_prompt" in values:
            values = {"prompt": values["system_prompt"], **values}
            values.pop("system_prompt")
        if self._carry((*path, "prompt"), values.get("prompt")):
            for key in values:
                if key != "prompt":
                    self._key(path, key, values[key], Persona)

    def _provider(self, path: KeyPath, value: object) -> None:
        if not isinstance(value, Mapping):
            self._leave_out(path, f"expected a table, got {shown(value)}")
            return
        name, kind = path[-1], value.get("kind", path[-1])
        try:
            cls = registry.find(kind) if isinstance(kind, str) else None
        except ValidationError as exc:
            self._leave_out(
                path, f'{exc.problem}. For an OpenAI-compatible server, set kind = "openai"'
            )
            return
        if cls is None:
            self._leave_out((*path, "kind"), f"expected a string, got {shown(kind)}")
            return
        if kind != name:
            if name in registry.KINDS:  # the shipped file already has a table of this name
                self._leave_out(path, f'kind: expected "{name}", got "{kind}". Rename the table')
                return
            self._carry((*path, "kind"), kind)
        for key in value:
            if key != "kind":
                self._key(path, key, value[key], cls.Config)
        self._clear_key_for_other_server(path, cls.Config())

    def _clear_key_for_other_server(self, path: KeyPath, default: ProviderConfig) -> None:
        """Clear the shipped file's `api_key` for another server, which must not see the key."""
        home = getattr(default, "base_url", "")
        moved = self._carried.get((*path, "base_url"), home).strip().rstrip("/") != home
        if path[-1] in KEYED and moved and (*path, "api_key") not in self._carried:
            self._carry((*path, "api_key"), "")

    def _rate_limits(self, path: KeyPath, value: object) -> None:
        if not isinstance(value, Mapping):
            self._leave_out(path, f"expected a table, got {shown(value)}")
            return
        for key, limit in value.items():
            old = (*path, key)
            if key == TOKENS_PER_DAY:
                why = "it never acted, since no tokens were counted. [budgets] user_tokens_per_day"
                self._leave_out(old, f"{why} is such a limit, for all that a user asks")
            elif key not in RATE_LIMITS:
                known = [*RATE_LIMITS, TOKENS_PER_DAY]
                self._leave_out(old, f"unknown key{suggestion(key, known)}")
            elif limit == 0:
                self._leave_out(old, "0 refused everything; in [limits.service] it is no limit")
            elif limit is not None:
                self._carry(("limits", "service", RATE_LIMITS[key]), limit, named=old)

    def _key(self, path: KeyPath, key: str, value: object, cls: type) -> None:
        """Convert one key of a table whose keys are the fields of `cls`."""
        hints, key_path = get_type_hints(cls), (*path, key)
        if key not in hints:
            known = sorted(hints)
            hint = suggestion(key, known) or _hint_at_section(key)
            self._leave_out(key_path, f"unknown key{hint}")
        elif value is None:
            return  # null: not set
        elif dataclasses.is_dataclass(hints[key]):
            self._section(key_path, value, hints[key])
        elif hints[key] is Secret:
            self._secret(key_path, value)
        elif hints[key] == Mapping[str, Secret]:
            self._secrets(key_path, value)
        elif key_path == ("nats", "url") and isinstance(value, str):
            self._nats_url(value)
        else:
            self._carry(key_path, value)

    def _section(self, path: KeyPath, value: object, cls: Any) -> None:
        if not isinstance(value, Mapping):
            self._leave_out(path, f"expected a table, got {shown(value)}")
            return
        for key in value:
            self._key(path, key, value[key], cls)

    def _secret(self, path: KeyPath, value: object) -> None:
        if not isinstance(value, str):
            self._leave_out(
                path, "expected a string"
            )  # the value is not shown: it may be the secret
            return
        text = self._reference(path, value)
        placeholder = "http://x" if path[-1] == "proxy" else PLACEHOLDER
        self._carry(path, text, placeholder if text else "")

    def _reference(self, path: KeyPath, value: str) -> str:
        """Return a reference to a secret that is set elsewhere; note it if there was none."""
        text = value.strip()
        if text and not REFERENCE.fullmatch(text):
            text = f"${{{_variable(path)}}}"
            self._notes.append(
                f"{_dotted(path)}: a secret is not copied. The new file has"
                f' "{text}": set that variable in the service\'s environment'
            )
        return text

    def _secrets(self, path: KeyPath, value: object) -> None:
        """Convert a table of which each value may be a secret."""
        if not isinstance(value, Mapping) or not all(isinstance(v, str) for v in value.values()):
            self._leave_out(path, "expected a table of strings")
            return
        texts = {name: self._reference((*path, name), value[name]) for name in value}
        self._carry(
            path, texts, {name: PLACEHOLDER if text else "" for name, text in texts.items()}
        )

    def _nats_url(self, url: str) -> None:
        """Move a login from the address to its own keys, and its secret to the environment."""
        try:
            parts = urlsplit(url)
            login, user, password = "@" in parts.netloc, parts.username, parts.password
        except ValueError:
            login, user, password = False, None, None
        if not login:
            self._carry(("nats", "url"), url)
            return
        bare = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
        if self._carry(("nats", "url"), bare):
            if password is None:
                self._secret(("nats", "token"), user)
            else:
                self._carry(("nats", "user"), user)
                self._secret(("nats", "password"), password)

    def _carry(
        self, path: KeyPath, value: object, checked: object = None, *, named: KeyPath | None = None
    ) -> bool:
        """Keep a value if it is valid, else note why not. Return whether it was kept.

        named: the key path in the old file, if it is another one.
        """
        trial = copy.deepcopy(self._checked)
        _put(trial, path, value if checked is None else checked)
        try:
            loading.parse(trial, self._folder)
        except ValidationError as exc:
            hint = "; ${...} was replaced by its value here" if "${" in str(value) else ""
            self._leave_out(named or path, f"{exc.problem}{hint}")
            return False
        self._checked = trial
        self._carried[path] = value
        return True

    def _leave_out(self, path: KeyPath, why: str) -> None:
        self._notes.append(f"{_dotted(path)}: left out: {why}")


def _put(values: dict[str, Any], path: KeyPath, value: object) -> None:
    for name in path[:-1]:
        values = values.setdefault(name, {})
    values[path[-1]] = value


def _with_placeholders(values: dict[str, Any]) -> dict[str, Any]:
    """Replace each secret with a placeholder, as if its variable were set."""
    tables = [values.get("nats", {}), *values.get("providers", {}).values()]
    for each in tables:
        for key in SECRETS & each.keys():
            each[key] = PLACEHOLDER
    return values


def _variable(path: KeyPath) -> str:
    """Return a secret's variable: ("providers", "openai", "api_key") gives OPENAI_API_KEY."""
    name = "_".join(path[1:] if path[0] == "providers" else path)
    return re.sub(r"[^A-Z0-9_]|^(?=[0-9])", "_", name.upper())


def _hint_at_section(key: str) -> str:
    """Return a hint at a key of this name in another table, or ""."""
    for section in dataclasses.fields(Settings):
        record = get_type_hints(Settings)[section.name]
        if dataclasses.is_dataclass(record) and key in get_type_hints(record):
            return f'; did you mean "{section.name}.{key}"?'
    return ""


def _dotted(path: KeyPath) -> str:
    return ".".join(path)
