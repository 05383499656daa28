"""Envelopes: messages inside the `data` of another object, as an event bus sends them."""

from __future__ import annotations

from typing import Any

# What tells that `data` is only an unknown key of the message itself.
BESIDE = ("channel_id", "channel", "args", "message")
OUTER = ("request_id", "reply_to", "correlation_id")


def is_envelope(values: dict[str, Any]) -> bool:
    """Return whether the message is inside `data`, as an event bus sends it."""
    return isinstance(values.get("data"), dict) and not any(key in values for key in BESIDE)


def unwrapped(values: dict[str, Any]) -> dict[str, Any]:
    """Return the message in an envelope, with what the envelope says of its sender."""
    inner: dict[str, Any] = values["data"]
    outer = {key: values[key] for key in OUTER if key in values and inner.get(key) is None}
    return inner | outer
