"""Expands relative paths, "${NAME}" and "${file:PATH}" in a configuration."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from providers import validation
from providers.validation import ValidationError


def absolute(path: str, folder: Path, setting: str) -> str:
    """Return an absolute path: `path` starts at `folder` or "~". Raises ValidationError."""
    try:
        return str(folder / Path(path).expanduser())
    except RuntimeError as exc:  # "~user" of an unknown user
        raise ValidationError(
            setting, f"expected a path, got {validation.shown(path)}: {exc}"
        ) from exc


def expand(value: Any, path: str, folder: Path) -> Any:
    """Replace "${NAME}" with the environment variable and "${file:PATH}" with the file's text.

    A variable that is not set gives "": the shipped file names keys that few people have. Raises
    ValidationError if a file cannot be read.
    """
    if isinstance(value, str):
        return re.sub(r"\$\{([^}]*)\}", lambda match: _lookup(match[1], path, folder), value)
    if isinstance(value, Mapping):
        return {
            key: expand(inner, f"{path}.{key}".strip("."), folder) for key, inner in value.items()
        }
    if isinstance(value, list):
        return [expand(inner, f"{path}[{index}]", folder) for index, inner in enumerate(value)]
    return value


def _lookup(name: str, path: str, folder: Path) -> str:
    if not name.startswith("file:"):
        return os.environ.get(name, "")
    file = Path(absolute(name.removeprefix("file:"), folder, path))
    try:
        return file.read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as exc:  # ValueError: not UTF-8, or a NUL in the path
        why = exc.strerror if isinstance(exc, OSError) else exc
        raise ValidationError(path, f"expected a file that can be read, got {name}: {why}") from exc
