"""The version of the installed rosey-llm package, which the providers send as their User-Agent."""

from __future__ import annotations

from providers.version import our_version

__all__ = ["our_version"]
