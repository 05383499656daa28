"""The version of rosey-llm, defined in `providers/version.py`, and that of the wire."""

from __future__ import annotations

from providers.version import our_version

__all__ = ["WIRE_VERSION", "our_version"]

WIRE_VERSION = "1.1"
"""The version of the messages on NATS (`engine/traffic/schema`).

What is only added raises the second number.
"""
