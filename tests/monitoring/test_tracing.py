"""Tests of the traces of a running service, as the collector and the providers receive them."""

from __future__ import annotations

import asyncio
import re
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import tomlkit
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from engine.config.loading import parse
from providers.installation import install_command
from providers.validation import ValidationError
from tests.fakes.llm_server import Behaviour, LLMServer
from tests.support.command_line import COMMAND
from tests.support.patience import WAIT_S
from tests.support.service_harness import House
from tests.support.service_process import configuration, running
from tests.support.trace_collector import Collector, Received

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACEPARENT = f"00-{TRACE}-{PARENT}-01"
QUICKLY = {"OTEL_BSP_SCHEDULE_DELAY": "50"}
CHAT = b'{"args": "Hi", "channel_id": "#lobby", "username": "alice", "request_id": "%b"}'


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    async with Collector() as collector:
        yield collector


def traced(llm: LLMServer, endpoint: str, **more: Any) -> dict[str, Any]:
    return configuration(llm, tracing={"enabled": True, "endpoint": endpoint}, **more)


def told(llm: LLMServer) -> list[tuple[str | None, str | None]]:
    """The trace headers of each chat call that reached the provider."""
    calls = [each for each in llm.requests if each.path.endswith("/chat/completions")]
    return [(each.headers.get("traceparent"), each.headers.get("tracestate")) for each in calls]


def as_parent(span: Received) -> str:
    return f"00-{span.trace}-{span.id}-01"


@pytest.mark.process
async def test_a_turn_is_a_span_in_the_senders_trace_and_the_parent_of_the_providers(
    tmp_path: Path, llm: LLMServer, collector: Collector
) -> None:
    headers = {"TraceParent": TRACEPARENT, "tracestate": "vendor=a1"}
    async with running(tmp_path, traced(llm, collector.url), QUICKLY) as service:
        await service.bot.client.request(
            "rosey.command.chat", CHAT % b"r1", headers=headers, timeout=WAIT_S
        )
        (span,) = await collector.received(1)
    assert (span.trace, span.parent, span.state) == (TRACE, PARENT, "vendor=a1")
    assert told(llm) == [(as_parent(span), "vendor=a1")]
    assert (span.name, span.kind) == ("chat test-model", Span.SPAN_KIND_CLIENT)
    assert span.status == Status.STATUS_CODE_UNSET
    assert 0 < span.start_ns < span.end_ns
    assert span.events == ["rosey.turn.started", "rosey.provider.asked"]
    assert span.service == "rosey-llm"
    latency_ms = span.attributes.pop("rosey.latency_ms")
    assert latency_ms <= (span.end_ns - span.start_ns) / 1e6 + 1
    assert span.attributes == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.conversation.id": "#lobby",
        "gen_ai.request.model": "test-model",
        "gen_ai.request.temperature": 0.7,
        "gen_ai.response.model": "test-model",
        "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.usage.input_tokens": 11,
        "gen_ai.usage.output_tokens": 7,
        "rosey.request_id": "r1",
        "rosey.persona": "default",
        "rosey.waited_ms": 0,
        "rosey.attempts": 1,
    }


@pytest.mark.process
async def test_completions_failures_stops_and_resets_are_spans_of_their_own_kind(
    tmp_path: Path, llm: LLMServer, collector: Collector
) -> None:
    async with running(tmp_path, traced(llm, collector.url), QUICKLY) as service:
        ask = {"channel_id": "#lobby", "message": "Once", "model": "other", "max_tokens": 9}
        await service.bot.call("llm.request", ask | {"action": "complete", "temperature": 0.1})
        llm.plan(Behaviour(status=401, body={"error": {"message": "secret words"}}))
        await service.bot.ask("secret words")
        llm.plan(Behaviour(hang_after=0))
        await service.bot.chat("secret words")
        await llm.wait_for_requests(3)
        await service.bot.ask("stop")
        await service.bot.ask("reset")
        spans = await collector.received(4)
    completion, failed, stopped, reset = spans
    assert completion.name == "text_completion other"
    wanted = {
        "gen_ai.operation.name": "text_completion",
        "gen_ai.request.temperature": 0.1,
        "gen_ai.request.max_tokens": 9,
    }
    assert wanted.items() <= completion.attributes.items()
    assert (failed.status, failed.problem) == (Status.STATUS_CODE_ERROR, "provider_auth")
    assert failed.attributes["error.type"] == "provider_auth"
    assert failed.attributes["gen_ai.provider.name"] == "openai"
    assert stopped.attributes["error.type"] == "cancelled"
    assert stopped.status == Status.STATUS_CODE_UNSET
    assert (reset.name, reset.kind) == ("rosey reset", Span.SPAN_KIND_INTERNAL)
    assert len({span.trace for span in spans}) == 4
    assert all(not span.parent for span in spans)
    assert "secret" not in repr(spans)


@pytest.mark.process
async def test_the_senders_trace_survives_a_crash(
    tmp_path: Path, llm: LLMServer, collector: Collector
) -> None:
    llm.plan(Behaviour(hang_after=0))
    config = traced(llm, collector.url)
    async with running(tmp_path, config, QUICKLY) as service:
        await service.bot.send(
            "rosey.command.chat", CHAT % b"r1", headers={"traceparent": TRACEPARENT}
        )
        await llm.wait_for_requests(1)
        await service.kill()
    async with running(tmp_path, config, QUICKLY):
        (span,) = await collector.received(1)
    assert (span.trace, span.parent) == (TRACE, PARENT)
    assert span.attributes["rosey.request_id"] == "r1"
    assert told(llm)[1] == (as_parent(span), None)


@pytest.mark.process
async def test_the_drain_exports_the_remaining_spans_except_of_unsampled_traces(
    tmp_path: Path, llm: LLMServer, collector: Collector
) -> None:
    variables = {
        "OTEL_BSP_SCHEDULE_DELAY": "3600000",
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_SERVICE_NAME": "bots",
    }
    unsampled = {"traceparent": f"00-{TRACE}-{PARENT}-00"}
    async with running(tmp_path, traced(llm, ""), variables) as service:
        client = service.bot.client
        await client.request("rosey.command.chat", CHAT % b"r1", headers=unsampled, timeout=WAIT_S)
        await service.bot.ask("Hi", request_id="r2")
        assert not collector.spans
        assert await service.end() == 0
    (span,) = collector.spans
    assert (span.attributes["rosey.request_id"], span.service) == ("r2", "bots")
    (passed_on, _), _ = told(llm)
    assert passed_on is not None
    assert re.fullmatch(rf"00-{TRACE}-(?!{PARENT})[0-9a-f]{{16}}-00", passed_on)


@pytest.mark.process
async def test_a_failing_collector_is_logged_once_each_way_and_disturbs_no_turn(
    tmp_path: Path, llm: LLMServer, collector: Collector
) -> None:
    collector.refusing = True
    async with running(tmp_path, traced(llm, collector.url), QUICKLY) as service:
        for number in range(1, 4):
            assert (await service.bot.ask("Hi"))["type"] == "llm_response"
            await collector.called(number)
        collector.refusing = False
        await service.bot.ask("Hi", request_id="r4")
        await collector.received(1)
        await service.logged(lambda: "exported again" in service.log)
        assert await service.end() == 0
        log = service.log
    assert log.count("Traces cannot be exported") == 1
    assert log.count("Traces are exported again") == 1
    assert "opentelemetry" not in log


@pytest.mark.process
async def test_without_a_collector_turns_are_answered_and_the_drain_ends(
    tmp_path: Path, llm: LLMServer
) -> None:
    async with running(tmp_path, traced(llm, "http://127.0.0.1:9"), QUICKLY) as service:
        answers = [await service.bot.ask("Hi") for _ in range(5)]
        assert {answer["type"] for answer in answers} == {"llm_response"}
        assert await service.end() == 0
        assert "Transient" not in service.log


@pytest.fixture
def without_the_sdk(tmp_path: Path) -> dict[str, str]:
    """An environment without OpenTelemetry, in which an attempt to import it leaves a file."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "opentelemetry.py").write_text(f"open({str(tmp_path / 'looked')!r}, 'w')\n")
    return {"PYTHONPATH": str(folder)}


@pytest.mark.process
async def test_without_the_sdk_the_start_says_what_to_install(
    tmp_path: Path, llm: LLMServer, without_the_sdk: dict[str, str]
) -> None:
    (tmp_path / "rosey-llm.toml").write_text(tomlkit.dumps(traced(llm, "")))
    process = await asyncio.create_subprocess_exec(
        *(COMMAND, "run"), cwd=tmp_path, env=without_the_sdk, stderr=subprocess.PIPE
    )
    async with asyncio.timeout(WAIT_S):
        _, said = await process.communicate()
    assert process.returncode == 3
    assert b"rosey-llm cannot start: [tracing] enabled = true" in said
    assert f"or install it: {install_command('tracing')}".encode() in said
    assert b"Traceback" not in said


@pytest.mark.process
async def test_if_disabled_opentelemetry_is_not_imported_and_the_trace_is_passed_on_unchanged(
    tmp_path: Path, llm: LLMServer, without_the_sdk: dict[str, str]
) -> None:
    llm.plan(Behaviour(), Behaviour(hang_after=0))
    config = configuration(llm)
    headers = {"traceparent": f"00-{TRACE}-{PARENT}-00", "TraceState": "a=1, b=2"}
    async with running(tmp_path, config, without_the_sdk) as service:
        bot = service.bot
        await bot.client.request(
            "rosey.command.chat", CHAT % b"r1", headers=headers, timeout=WAIT_S
        )
        await bot.send("rosey.command.chat", CHAT % b"r2", headers=headers)
        await llm.wait_for_requests(2)
        await service.kill()
    async with running(tmp_path, config, without_the_sdk) as service:
        await llm.wait_for_requests(3)
        await service.bot.ask("Hi", request_id="r3")
    assert told(llm) == [(f"00-{TRACE}-{PARENT}-00", "a=1, b=2")] * 3 + [(None, None)]
    assert not (tmp_path / "looked").exists()


async def test_a_trace_can_add_no_other_header_to_the_request(house: House) -> None:
    await house.open()
    garbage = {
        "traceparent": f"{TRACEPARENT}x",
        "tracestate": "a=1",
        "authorization": "Bearer forged",
        "content-type": "text/plain",
        "x-other": "1",
    }
    await house.bot.call("rosey.command.chat", CHAT % b"r1", headers=garbage)
    headers = house.llm.requests[-1].headers
    assert headers["authorization"] == "Bearer sk-house-key"
    assert headers["content-type"] == "application/json"
    assert not {"traceparent", "tracestate", "x-other"} & headers.keys()


async def test_each_turn_has_its_own_trace_however_close_they_come(house: House) -> None:
    await house.open()
    traces = [f"00-{n:032x}-{PARENT}-01" for n in range(1, 9)]
    await asyncio.gather(
        *(
            house.bot.call(
                "rosey.command.chat",
                CHAT % b"r%d" % n,
                headers={"traceparent": each} if n % 4 else None,
            )
            for n, each in enumerate(traces)
        )
    )
    expected = [each if n % 4 else None for n, each in enumerate(traces)]
    assert [trace for trace, _ in told(house.llm)] == expected


@pytest.mark.parametrize(
    "endpoint", ["localhost:4318", "http://", "http://a:b@c:4318", "http://[", "ftp://a"]
)
def test_an_invalid_endpoint_is_refused(tmp_path: Path, endpoint: str) -> None:
    with pytest.raises(ValidationError) as refused:
        parse({"tracing": {"endpoint": endpoint}}, tmp_path)
    assert str(refused.value).startswith("tracing.endpoint: expected an address such as")
    assert "a:b" not in str(refused.value)
