"""The version of the installed rosey-llm package."""

from __future__ import annotations

import functools
from importlib.metadata import PackageNotFoundError, version


@functools.cache
def our_version() -> str:
    try:
        return version("rosey-llm")
    except PackageNotFoundError:  # run from a folder without installing it
        return "0.0.0"
