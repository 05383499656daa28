"""Traces of turns, where they are asked for. Without that, nothing of OpenTelemetry is loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.config.settings import TracingSettings
from engine.errors import CannotStart

if TYPE_CHECKING:
    from engine.telemetry.spans import Spans

MISSING = (
    "[tracing] enabled = true needs the OpenTelemetry SDK, which is not installed ({}). "
    'Install it with pip install "rosey-llm[tracing]", or set enabled = false.'
)


def begin(settings: TracingSettings, service: str) -> Spans | None:
    """What makes and exports spans; None where nobody wants any. CannotStart without the SDK.

    service: what the service is called there, unless $OTEL_SERVICE_NAME says otherwise.
    """
    if not settings.enabled:
        return None
    try:
        from engine.telemetry.spans import Spans
    except ImportError as exc:
        raise CannotStart(MISSING.format(exc)) from exc
    return Spans(settings.endpoint, service)
