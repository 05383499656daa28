"""The version of rosey-llm. It stands only here; the build, the commands and the pages read it."""

from __future__ import annotations

VERSION = "0.2.0"


def our_version() -> str:
    return VERSION
