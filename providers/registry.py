"""Finds the class of a provider by its kind and builds the provider from its settings.

A kind is one of `KINDS`, an entry point of the group `rosey_llm.providers`, or a class written as
"package.module:Class". So a new provider is one file and one line of configuration. The file can
be in the folder of the configuration.
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
    """Return the provider's class; ValidationError if there is none or it cannot be imported.

    A module that is not installed is searched for in `folder`, which stays on `sys.path`.
    """
    if ":" in kind:
        return _load(kind, folder)
    if kind in KINDS:
        return _load(KINDS[kind])
    plugins = _plugins()
    if kind in plugins:
        return _load(plugins[kind])
    names = known()
    hint = suggestion(kind, names) or f'; use {", ".join(names)} or "package.module:Class"'
    raise ValidationError("", f"unknown kind {shown(kind)}{hint}")


def known() -> list[str]:
    """Return the names of all kinds: our own, and those of installed packages."""
    return sorted({*KINDS, *_plugins()})


def build(name: str, table: Mapping[str, Any], folder: Path | None = None) -> LLMProvider:
    """Return the provider that `[providers.<name>]` describes; its kind is `name` by default.

    `folder` is as for `find`. A ValidationError names the wrong setting, for example
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
        module = _import(module_name, folder)
    except ModuleNotFoundError as exc:
        problem = _explain_missing(exc, module_name, folder)
        raise ValidationError("", f"cannot import {shown(address)}: {problem}") from exc
    except (ImportError, SyntaxError, ValueError) as exc:
        raise ValidationError("", f"cannot import {shown(address)}: {exc}") from exc
    except (Exception, SystemExit) as exc:  # another author's module may raise anything
        problem = f"{type(exc).__name__}: {exc}"
        raise ValidationError("", f"cannot import {shown(address)}: {problem}") from exc
    cls = getattr(module, class_name, None)
    if cls is None:
        raise ValidationError("", f"{shown(module_name)} has no class {shown(class_name)}")
    if not (isinstance(cls, type) and issubclass(cls, LLMProvider)):
        raise ValidationError("", f"{shown(address)} is not an LLMProvider")
    if inspect.isabstract(cls):
        missing = ", ".join(sorted(cls.__abstractmethods__))
        raise ValidationError("", f"{shown(address)} does not define {missing}")
    return cls


def _import(name: str, folder: Path | None) -> ModuleType:
    if folder is not None and str(folder) not in sys.path:
        sys.path.append(str(folder))  # last, so that a file there hides no installed module
    importlib.invalidate_caches()  # the file may be new: written just before this reload
    return importlib.import_module(name)


def _explain_missing(exc: ModuleNotFoundError, name: str, folder: Path | None) -> str:
    if not f"{name}.".startswith(f"{exc.name}."):
        return str(exc)  # the module exists, but imports one that does not
    if folder is None:
        return f"no module {shown(exc.name)} is installed"
    return (
        f"no module {shown(exc.name)} is installed or in {folder}; "
        f"put {name.replace('.', '/')}.py there"
    )
