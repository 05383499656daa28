"""Which version of rosey-llm this is."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def our_version() -> str:
    try:
        return version("rosey-llm")
    except PackageNotFoundError:  # run from a folder that nobody installed
        return "0.0.0"
