"""The version of rosey-llm, which stands in `providers/version.py`."""

from __future__ import annotations

from providers.version import our_version

__all__ = ["our_version"]
