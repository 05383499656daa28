"""A trace collector for tests: OTLP over HTTP, decoded with the protocol's own definitions."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from tests.support.patience import WAIT_S


@dataclass(frozen=True)
class Received:
    """A received span; ids are hexadecimal digits, `parent` is "" if it has none."""

    name: str
    kind: int
    trace: str
    id: str
    parent: str
    state: str
    status: int
    problem: str
    start_ns: int
    end_ns: int
    attributes: dict[str, Any]
    events: list[str]
    service: str


class Collector:
    """A collector that listens at `url`; while `refusing` is set, it answers with an error."""

    def __init__(self) -> None:
        self.spans: list[Received] = []
        self.calls = 0
        self.refusing = False
        self.url = ""
        self._changed = asyncio.Condition()
        app = web.Application(client_max_size=2**24)
        app.router.add_post("/v1/traces", self._take)
        self._runner = web.AppRunner(app)

    async def received(self, count: int) -> list[Received]:
        """Wait for the first `count` spans and return them."""
        async with asyncio.timeout(WAIT_S), self._changed:
            await self._changed.wait_for(lambda: len(self.spans) >= count)
        return self.spans[:count]

    async def called(self, count: int) -> None:
        async with asyncio.timeout(WAIT_S), self._changed:
            await self._changed.wait_for(lambda: self.calls >= count)

    async def _take(self, request: web.Request) -> web.Response:
        body = await request.read()
        async with self._changed:
            self.calls += 1
            if not self.refusing:
                self.spans += _spans(ExportTraceServiceRequest.FromString(body))
            self._changed.notify_all()
        if self.refusing:
            return web.Response(status=400)
        return web.Response(
            body=ExportTraceServiceResponse().SerializeToString(),
            content_type="application/x-protobuf",
        )

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._runner.cleanup()


def _spans(request: Any) -> list[Received]:
    return [
        Received(
            span.name,
            span.kind,
            span.trace_id.hex(),
            span.span_id.hex(),
            span.parent_span_id.hex(),
            span.trace_state,
            span.status.code,
            span.status.message,
            span.start_time_unix_nano,
            span.end_time_unix_nano,
            _values(span.attributes),
            [event.name for event in span.events],
            _values(resource.resource.attributes)["service.name"],
        )
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def _values(attributes: Any) -> dict[str, Any]:
    return {each.key: _value(each.value) for each in attributes}


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(each) for each in value.array_value.values]
    return getattr(value, kind)
