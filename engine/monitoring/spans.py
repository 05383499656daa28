"""The observer that makes an OpenTelemetry span of each turn, from acceptance to settled outcome.

The attributes follow the semantic conventions for generative AI; no message content is in them.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import (
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    TraceState,
    set_span_in_context,
)

from engine.commands.observer import SettledTurn, TurnObserver
from engine.commands.outcomes import Answer, Failure
from engine.commands.records import Chat, Complete
from engine.commands.request import Request
from engine.errors import Cancelled
from providers import trace
from providers.trace import TraceContext
from storage.history import Row

log = logging.getLogger("rosey_llm.tracing")
FLUSH_LIMIT_S = 2.0
ATTRIBUTE_LIMIT = 1024
PATH = "/v1/traces"
OPERATIONS = {Chat: "chat", Complete: "text_completion"}
# They would log each failed attempt; `Exporter` logs it once.
NOISY = ("opentelemetry.exporter.otlp.proto.http.trace_exporter", "opentelemetry.sdk")


class Exporter(SpanExporter):
    """The OTLP exporter; it logs once when exports begin to fail, and once when they work again."""

    def __init__(self, endpoint: str) -> None:
        self._otlp = OTLPSpanExporter(endpoint or None)
        self._failing = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = self._otlp.export(spans)
        failing = result is not SpanExportResult.SUCCESS
        if failing and not self._failing:
            log.warning(
                "Traces cannot be exported and are lost. Check the collector and [tracing].",
                {"event": "tracing.failed"},
            )
        elif self._failing and not failing:
            log.warning("Traces are exported again.", {"event": "tracing.recovered"})
        self._failing = failing
        return result

    def shutdown(self) -> None:
        self._otlp.shutdown()  # type: ignore[no-untyped-call]


class Spans(TurnObserver):
    """An observer that makes one span per turn; a thread exports them, so that it never blocks.

    endpoint: the OTLP/HTTP address of the collector; "" uses the variables OTEL_EXPORTER_OTLP_*.
    service: the service's name in traces, unless $OTEL_SERVICE_NAME gives another.
    """

    def __init__(self, endpoint: str, service: str) -> None:
        for noisy in NOISY:
            logging.getLogger(noisy).setLevel(logging.CRITICAL)
        name = {} if "OTEL_SERVICE_NAME" in os.environ else {"service.name": service}
        self._provider = TracerProvider(
            resource=Resource.create(name),
            span_limits=SpanLimits(max_span_attribute_length=ATTRIBUTE_LIMIT),
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(BatchSpanProcessor(Exporter(_url(endpoint))))
        self._tracer = self._provider.get_tracer("rosey-llm")
        self._open: dict[tuple[str, str], Span] = {}  # by channel and request id

    def turn_started(self, request: Request, accepted_ms: int, provider: str) -> None:
        key = request.channel_id, request.request_id
        if key not in self._open:  # otherwise the actor crashed in this turn and repeats it
            self._open[key] = self._start(request, accepted_ms, provider)
        # The provider continues our span; if that is invalid, the sender's trace.
        if context := _context(self._open[key].get_span_context()):
            trace.current.set(context)

    def model_asked(
        self,
        request: Request,
        provider: str,
        model: str,
        temperature: float,
        max_tokens: int | None,
    ) -> None:
        span = self._open.get((request.channel_id, request.request_id))
        if span is None:
            return
        span.update_name(f"{OPERATIONS[type(request.command)]} {model}")
        attributes = {
            "gen_ai.provider.name": provider,
            "gen_ai.request.model": model,
            "gen_ai.request.temperature": temperature,
            "gen_ai.request.max_tokens": max_tokens,
        }
        span.set_attributes(_known(attributes))
        span.add_event("rosey.provider.asked")

    def settled(self, turn: SettledTurn) -> None:
        if turn.request is None:
            return
        span = self._open.pop((turn.request.channel_id, turn.request.request_id), None)
        if span is None:
            return
        if turn.rows:
            _describe(span, turn.outcome, turn.rows[-1])
        span.end()

    async def aclose(self) -> None:
        """Export the remaining spans within 2 s; later ones are lost."""
        loop, closed = asyncio.get_running_loop(), asyncio.Event()

        def close() -> None:
            self._provider.shutdown()
            with suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(closed.set)

        # A daemon thread, which can be abandoned: the SDK's shutdown has no time limit.
        threading.Thread(target=close, name="tracing shutdown", daemon=True).start()
        try:
            async with asyncio.timeout(FLUSH_LIMIT_S):
                await closed.wait()
        except TimeoutError:
            log.warning(
                "The last traces were not exported within %(limit_s)g s and are lost.",
                {"event": "tracing.flush_failed", "limit_s": FLUSH_LIMIT_S},
            )

    def _start(self, request: Request, accepted_ms: int, provider: str) -> Span:
        """Start a span whose start time is the acceptance of the command."""
        attributes = {
            "gen_ai.conversation.id": request.channel_id,
            "rosey.request_id": request.request_id,
        }
        operation = OPERATIONS.get(type(request.command))
        if operation:
            attributes |= {"gen_ai.operation.name": operation, "gen_ai.provider.name": provider}
        span = self._tracer.start_span(
            operation or f"rosey {type(request.command).__name__.lower()}",
            _parent(request.trace),
            SpanKind.CLIENT if operation else SpanKind.INTERNAL,
            attributes,
            start_time=accepted_ms * 1_000_000,
        )
        span.add_event("rosey.turn.started")
        return span


def _describe(span: Span, outcome: Answer | Failure, row: Row) -> None:
    details = row.details or {}
    attributes: dict[str, Any] = {
        "rosey.persona": row.persona,
        "rosey.waited_ms": details.get("waited_ms"),
        "rosey.attempts": details.get("attempts"),
    }
    if isinstance(outcome, Answer):
        attributes |= _answer(outcome)
    else:
        attributes |= {"error.type": outcome.code, "gen_ai.provider.name": row.provider}
        if outcome.code != Cancelled.code:
            span.set_status(Status(StatusCode.ERROR, outcome.code))
    span.set_attributes(_known(attributes))


def _answer(answer: Answer) -> dict[str, Any]:
    usage = answer.usage
    return {
        "gen_ai.provider.name": answer.provider,
        "gen_ai.response.model": answer.model,
        "gen_ai.response.finish_reasons": [answer.finish_reason] if answer.finish_reason else None,
        "gen_ai.usage.input_tokens": usage.prompt_tokens if usage else None,
        "gen_ai.usage.output_tokens": usage.completion_tokens if usage else None,
        "rosey.latency_ms": answer.latency_ms,
    }


def _known(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in attributes.items() if value is not None}


def _url(endpoint: str) -> str:
    """Return the endpoint, with the usual path if it is only an address."""
    endpoint = endpoint.rstrip("/")
    return endpoint + PATH if endpoint.count("/") == 2 else endpoint


def _parent(parent: TraceContext | None) -> Context:
    if parent is None:
        return Context()
    state = TraceState.from_header([parent.tracestate]) if parent.tracestate else None
    remote = SpanContext(parent.trace_id, parent.span_id, True, TraceFlags(parent.flags), state)
    return set_span_in_context(NonRecordingSpan(remote), Context())


def _context(own: SpanContext) -> TraceContext | None:
    if not own.is_valid:
        return None
    return TraceContext(
        f"00-{own.trace_id:032x}-{own.span_id:016x}-{own.trace_flags:02x}",
        own.trace_state.to_header(),
    )
