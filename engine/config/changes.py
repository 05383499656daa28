"""What a reload changes: which settings it applies, and which need a restart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any

import orjson

from engine.config.channel_rules import ChannelRule
from engine.config.settings import Settings
from providers.base import LLMProvider

# A reload applies these keys and all keys below them. All others need a restart.
RELOADABLE = frozenset(
    {
        "default_provider",
        "fallback_providers",
        "fallback_on",
        "providers",
        "personas",
        "texts",
        "service",
        "conversation",
        "channels",
        "models",
        "permissions",
        "access",
        "limits",
        "accounting",
        "prices",
        "budgets",
        "safety",
        "storage.dedupe_days",
        "storage.retention_days",
        "storage.retention_days_by_channel",
        "log",
    }
)
# Reported by name only: a provider's table may hold a key, and texts are long.
NAMED = ("personas", "providers", "channels.rules", "texts")
MOVED = "moved"
TEXTS_LISTED = 6  # more sentences of one language are counted


@dataclass(frozen=True)
class Changes:
    """A record of what a reload changed.

    personas, providers: each name with "added", "changed" or "removed".
    rules: the same by the rule's pattern; "moved" if another rule comes before it now.
    texts: the same by key, behind that of its language and a point, if it has one.
    settings: each changed key path with its new value.
    restart: key paths that were changed in the file, but need a restart.
    """

    personas: Mapping[str, str] = field(default_factory=dict)
    providers: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    restart: Sequence[str] = ()
    rules: Mapping[str, str] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)

    @property
    def lines(self) -> list[str]:
        """One line for each kind of change, for people."""
        shown = [f"{key} = {orjson.dumps(value).decode()}" for key, value in self.settings.items()]
        parts = {
            "personas": [f"{name} {how}" for name, how in self.personas.items()],
            "providers": [f"{name} {how}" for name, how in self.providers.items()],
            "channel rules": [f"{match} {how}" for match, how in self.rules.items()],
            "texts": list(_text_items(self.texts)),
            "settings": shown,
            "needs a restart": list(self.restart),
        }
        lines = [f"{part}: {', '.join(items)}" for part, items in parts.items() if items]
        return lines or ["nothing has changed"]


def applied(running: Settings, read: Settings) -> Settings:
    """Return the settings to run with: `read`, except for keys that need a restart."""
    settings: Settings = _merge(running, read, "")
    return settings


def diff(
    running: Settings,
    read: Settings,
    before: Sequence[LLMProvider],
    after: Sequence[LLMProvider],
) -> Changes:
    """Return what `read` changes. An unchanged provider is the same object before and after."""
    old, new = dict(_leaves(running, "")), dict(_leaves(read, ""))
    differing = [key for key, value in new.items() if old[key] != value]
    return Changes(
        personas=_differences(_by_lower_name(running.personas), _by_lower_name(read.personas)),
        providers=_differences({p.name: id(p) for p in before}, {p.name: id(p) for p in after}),
        settings={key: new[key] for key in differing if _is_reloadable(key)},
        restart=[key for key in differing if not _is_reloadable(key)],
        rules=_rule_differences(running.channels.rules, read.channels.rules),
        texts=_differences(_by_key(running.texts), _by_key(read.texts)),
    )


def _text_items(texts: Mapping[str, str]) -> Iterator[str]:
    """Name the sentences that were changed, or count them: a language has nearly a hundred."""
    alike: dict[tuple[str, str], list[str]] = {}
    for key, how in texts.items():
        language = key.rpartition(".")[0]
        alike.setdefault((language, how), []).append(key)
    for (language, how), keys in alike.items():
        if len(keys) > TEXTS_LISTED:
            yield f"{len(keys)} sentences{f' of {language}' if language else ''} {how}"
        else:
            yield from (f"{key} {how}" for key in keys)


def _merge(running: Any, read: Any, path: str) -> Any:
    kept: dict[str, Any] = {}
    for each in fields(read):
        key = _key(path, each.name)
        value = getattr(running, each.name)
        if is_dataclass(value):
            kept[each.name] = _merge(value, getattr(read, each.name), key)
        elif not _is_reloadable(key):
            kept[each.name] = value
    return replace(read, **kept)


def _leaves(record: Any, path: str) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for each in fields(record):
        key, value = _key(path, each.name), getattr(record, each.name)
        if is_dataclass(value):
            found += _leaves(value, key)
        elif key not in NAMED:
            found.append((key, value))
    return found


def _rule_differences(old: Sequence[ChannelRule], new: Sequence[ChannelRule]) -> dict[str, str]:
    """Return what became of each rule. The order counts: the first match wins."""
    before, after = {rule.match: rule for rule in old}, {rule.match: rule for rule in new}
    found = _differences(before, after)
    # Only of rules that were there and still are: an added one moves no other.
    kept = [match for match in before if match in after]
    was_at = {match: place for place, match in enumerate(kept)}
    furthest = -1
    for match in (match for match in after if match in was_at):
        if was_at[match] < furthest:
            found[match] = f"{found[match]} and {MOVED}" if match in found else MOVED
        furthest = max(furthest, was_at[match])
    return found


def _key(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _is_reloadable(key: str) -> bool:
    return key in RELOADABLE or any(key.startswith(f"{live}.") for live in RELOADABLE)


def _by_lower_name(named: Mapping[str, Any]) -> dict[str, Any]:
    return {name.lower(): value for name, value in named.items()}


def _by_key(texts: Mapping[str, Any], before: str = "") -> dict[str, str]:
    found: dict[str, str] = {}
    for key, value in texts.items():
        found |= {before + key: value} if isinstance(value, str) else _by_key(value, f"{key}.")
    return found


def _differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, str]:
    how = {name: "added" for name in new if name not in old}
    how |= {name: "changed" for name in new if name in old and new[name] != old[name]}
    return how | {name: "removed" for name in old if name not in new}
