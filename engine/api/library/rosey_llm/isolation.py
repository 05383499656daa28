"""Imports our packages, also beside packages of the same names in the user's program.

`engine`, `providers` and `storage` are common names. If a program has packages of its own that are
called so, ours are loaded as `rosey_llm.engine` and so on: the imports in their source are
rewritten while it is compiled. That costs some tenths of a second at the first import, since
nothing is cached, so it is done only if a name is taken.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import sys
from collections.abc import Sequence
from functools import cache
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

OURS = ("engine", "providers", "storage")
PREFIX = f"{__package__}."


def import_ours(module: str) -> ModuleType:
    """Import a module of our packages, under its own name if that is free."""
    return importlib.import_module(module if _names_are_free() else PREFIX + module)


@cache
def _names_are_free() -> bool:
    """Whether our packages are found under their own names; if not, prepare the others."""
    home = _home()
    if all(_location(name) == home / name for name in OURS):
        return True
    sys.meta_path.insert(0, _Finder(home))
    return False


def _home() -> Path:
    """The folder that has our packages: beside this one in a wheel, the root of a checkout."""
    here = Path(__file__).resolve()
    for folder in (here.parents[1], here.parents[4]):
        if (folder / "engine" / "api" / "service.py").is_file():
            return folder
    raise ImportError(f"rosey-llm is not whole: there is no engine beside {here.parent}")


def _location(package: str) -> Path | None:
    """The folder of the package that the program gets by this name."""
    loaded = sys.modules.get(package)
    if loaded is not None:
        origin = getattr(loaded, "__file__", None)
    else:
        spec = importlib.util.find_spec(package)
        origin = spec.origin if spec is not None else None
    return Path(origin).resolve().parent if origin else None


class _Finder(MetaPathFinder):
    """Finds `rosey_llm.engine` and so on, and everything below them."""

    def __init__(self, home: Path) -> None:
        self._home = home

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        name = fullname.removeprefix(PREFIX)
        if name == fullname or name.partition(".")[0] not in OURS:
            return None
        folder = self._home.joinpath(*name.split(".")[:-1])
        found = PathFinder.find_spec(fullname, [str(folder)])
        if found is None or not isinstance(found.loader, SourceFileLoader):
            return found
        assert found.origin is not None  # noqa: S101 -- a source file has a place
        return importlib.util.spec_from_file_location(
            fullname,
            found.origin,
            loader=_Loader(fullname, found.origin),
            submodule_search_locations=found.submodule_search_locations,
        )


class _Loader(SourceFileLoader):
    """Compiles a module of ours with its imports of our packages rewritten."""

    def path_stats(self, path: str) -> dict[str, Any]:  # type: ignore[override]
        # Without it, nothing is read from the compiled files of the ordinary names, or written.
        raise OSError

    def source_to_code(self, data: Any, path: Any, *, _optimize: int = -1) -> CodeType:  # type: ignore[override]
        tree = ast.parse(data, path)
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in OURS:
                node.module = f"{PREFIX}{node.module}"
        return compile(tree, path, "exec", dont_inherit=True, optimize=_optimize)
