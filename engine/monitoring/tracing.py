"""The start of tracing, if it is enabled; otherwise OpenTelemetry is not imported."""

from __future__ import annotations

from engine.commands.observer import Observers
from engine.config.settings import TracingSettings
from engine.errors import CannotStart
from providers.installation import install_command

MISSING = (
    "[tracing] enabled = true needs the OpenTelemetry SDK, which is not installed ({}). "
    "Set enabled = false, or install it: {}"
)


def begin(settings: TracingSettings, service: str, observers: Observers) -> None:
    """Add an observer that makes and exports spans, if tracing is enabled.

    service: the service's name in traces, unless $OTEL_SERVICE_NAME gives another.

    Raises CannotStart if the SDK is not installed.
    """
    if not settings.enabled:
        return
    try:
        from engine.monitoring.spans import Spans
    except ImportError as exc:
        raise CannotStart(MISSING.format(exc, install_command("tracing"))) from exc
    observers.add(Spans(settings.endpoint, service))
