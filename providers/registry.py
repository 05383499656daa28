"""Which class answers for a `[providers.<name>]`.

Looked up in this order: `KINDS`; the entry points of the group `rosey_llm.providers`; and a kind
that is written "package.module:Class" is that class, so that a new provider is one file and one
line of configuration. The file may stand beside the configuration.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Mapping
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from providers.base import LLMProvider
from providers.validation import ValidationError, shown, suggestion

GROUP = "rosey_llm.providers"
KINDS = {
    "ollama": f"{__package__}.ollama:OllamaProvider",
    "openai": f"{__package__}.openai:OpenAIProvider",
    "openrouter": f"{__package__}.openrouter:OpenRouterProvider",
    "local": f"{__package__}.local.provider:LocalProvider",
    "scripted": f"{__package__}.scripted:ScriptedProvider",
}


def find(kind: str, folder: Path | None = None) -> type[LLMProvider]:
    """The provider's class; RecordError where there is none or it cannot be imported.

    What is not installed is looked for in `folder`, from then on for the whole process.
    """
    if ":" in kind:
        return _load(kind, folder)
    if kind in KINDS:
        return _load(KINDS[kind])
    plugins = _plugins()
    if kind in plugins:
        return _load(plugins[kind])
    names = known()
    hint = suggestion(kind, names) or f'; known are {", ".join(names)} and "package.module:Class"'
    raise ValidationError("", f"unknown kind {shown(kind)}{hint}")


def known() -> list[str]:
    """The kinds that have a name: ours, and those that packages bring."""
    return sorted({*KINDS, *_plugins()})


def build(name: str, table: Mapping[str, Any], folder: Path | None = None) -> LLMProvider:
    """The provider that a `[providers.<name>]` describes; its kind is its name unless it says one.

    `folder` as for `find`. RecordError names the setting that is wrong, for example
    `providers.<name>.kind`.
    """
    path = f"providers.{name}.kind"
    kind = table.get("kind", name)
    if not isinstance(kind, str):
        raise ValidationError(path, f"expected a string, got {shown(kind)}")
    try:
        cls = find(kind, folder)
    except ValidationError as exc:
        raise ValidationError(path, exc.problem) from exc
    config = {key: value for key, value in table.items() if key != "kind"}
    return cls(config, name=name)


def _plugins() -> dict[str, str]:
    return {found.name: f"{found.module}:{found.attr}" for found in entry_points(group=GROUP)}


def _load(address: str, folder: Path | None = None) -> type[LLMProvider]:
    module_name, _, class_name = address.partition(":")
    try:
        module = _imported(module_name, folder)
    except ModuleNotFoundError as exc:
        problem = _not_found(exc, module_name, folder)
        raise ValidationError("", f"cannot import {shown(address)}: {problem}") from exc
    except (ImportError, SyntaxError, ValueError) as exc:
        raise ValidationError("", f"cannot import {shown(address)}: {exc}") from exc
    except (Exception, SystemExit) as exc:  # an edge: a stranger's module may raise anything
        problem = f"{type(exc).__name__}: {exc}"
        raise ValidationError("", f"cannot import {shown(address)}: {problem}") from exc
    cls = getattr(module, class_name, None)
    if cls is None:
        raise ValidationError("", f"{shown(module_name)} has no class {shown(class_name)}")
    if not (isinstance(cls, type) and issubclass(cls, LLMProvider)):
        raise ValidationError("", f"{shown(address)} is not an LLMProvider")
    if inspect.isabstract(cls):
        missing = ", ".join(sorted(cls.__abstractmethods__))
        raise ValidationError("", f"{shown(address)} lacks {missing}")
    return cls


def _imported(name: str, folder: Path | None) -> ModuleType:
    if folder is not None and str(folder) not in sys.path:
        sys.path.append(str(folder))  # as the last: no file there hides a module of anybody's
    importlib.invalidate_caches()  # the file may have been written for the reload that goes on
    return importlib.import_module(name)


def _not_found(exc: ModuleNotFoundError, name: str, folder: Path | None) -> str:
    if not f"{name}.".startswith(f"{exc.name}."):
        return str(exc)  # it is there, and misses another
    if folder is None:
        return f"no module {shown(exc.name)} is installed"
    return (
        f"no module {shown(exc.name)} is installed or stands in {folder}; "
        f"put {name.replace('.', '/')}.py there"
    )
