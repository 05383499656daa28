"""Finds values in a configuration that an earlier version wrote, or read in another way.

`rosey-llm init` of an earlier version wrote every default into the file, and what a file says is
kept. So such a value may keep a newer default away.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from engine.config.placeholders import doubled
from engine.config.settings import Settings
from providers import registry
from providers.base import ProviderConfig
from providers.validation import shown

_COMMON = {
    "timeout": 60.0,
    "connect_timeout": 10.0,
    "total_timeout": 600.0,
    "max_retries": 2,
    "max_concurrency": 64,
    "context_tokens": 8192,
}
# The defaults by kind that were once written into files.
WRITTEN: Mapping[str, Mapping[str, Any]] = {
    "ollama": {
        **_COMMON,
        "first_content_timeout": 300.0,
        "context_tokens": 4096,
        "max_tokens": 1024,
    },
    "openai": _COMMON,
    "openrouter": _COMMON,
    "local": {
        **_COMMON,
        "first_content_timeout": 120.0,
        "max_concurrency": 2,
        "parallel": 2,
        "threads": 0,
        "context_tokens": 2048,
        "max_tokens": 1024,
    },
}

# Keys that other defaults depend on.
_BASIS = ("model_path", "base_url", "parallel")


def notes(settings: Settings) -> list[str]:
    """Return a line for people about each value that may not be what its author wants by now."""
    found: list[str] = []
    for name, table in settings.providers.items():
        kind = str(table.get("kind", name))
        if kind in WRITTEN:
            basis = {key: table[key] for key in _BASIS if key in table}
            default = registry.build(name, {"kind": kind, **basis}).config
            found += table_notes(f"providers.{name}", table, WRITTEN[kind], default)
    for name, persona in settings.personas.items():
        if signs := doubled(persona.prompt):
            found.append(
                f"personas.{name}.prompt: {signs[0]} is sent as {signs[0][1:-1]}; "
                f"before 0.2.0 it was sent as it stands. For that, write {{{signs[0]}}}"
            )
    return found


def table_notes(
    path: str, table: Mapping[str, Any], written: Mapping[str, Any], default: ProviderConfig
) -> Iterator[str]:
    """Yield the notes about one provider's table.

    path: its place. written: the defaults that were once written into such a table. default: those
    of this version.
    """
    for key, value in written.items():
        now = getattr(default, key)
        if table.get(key) == value != now:
            yield (
                f"{path}.{key} = {shown(value)} is the default of an earlier version; "
                f"without the line it is {shown(now)}"
            )
    timeout, first = table.get("timeout"), default.first_content_timeout
    if timeout is None or first is None or "first_content_timeout" in table:
        return
    if timeout < first:
        yield (
            f"{path}.timeout = {shown(timeout)} also limits the wait for the first piece of an "
            f"answer, while a model may have to be loaded; without the line that is {first:g} s. "
            f"Set first_content_timeout to choose that limit"
        )
