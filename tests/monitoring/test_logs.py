"""Tests of the log of a running service: one line per event, which no user can forge."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import re
import signal
from pathlib import Path

import orjson
import pytest
import tomlkit

from engine.monitoring.event import VALUE_LIMIT, LogEvent
from engine.monitoring.logs import JsonFormat, TextFormat
from tests.fakes.llm_server import Behaviour, LLMServer
from tests.support.service_process import Service, configuration, running

LINE = re.compile(r"\d{4}-\d\d-\d\dT[0-9:]{8}\.\d{3}Z (debug|info|warning|error) rosey_llm\.\w+ ")
FORGERY = "2026-11-22T23:50:01.123Z info rosey_llm.turn turn.answered channel=#vip"


def events(service: Service, name: str) -> list[str]:
    return [line for line in service.lines if f" {name} " in line]


@pytest.mark.process
async def test_each_turn_is_one_line_with_channel_request_id_and_duration(
    tmp_path: Path, llm: LLMServer
) -> None:
    async with running(tmp_path, configuration(llm)) as service:
        await service.bot.ask("Hi", request_id="r1")
        llm.plan(Behaviour(status=401, body={"error": {"message": "no"}}))
        await service.bot.ask("Hi", request_id="r2")
        await service.bot.ask("persona concise", request_id="r3")
        await service.bot.ask("reset", request_id="r4")
        await service.bot.ask("help", request_id="r5")
        await service.logged(lambda: "request_id=r4" in service.log)
        turns = [line for line in service.lines if "rosey_llm.turn" in line]
    said = [line.split("rosey_llm.turn ")[1] for line in turns]
    assert all(LINE.match(line) for line in turns)
    assert re.fullmatch(
        r"turn\.answered channel=#lobby request_id=r1 duration_ms=\d+ queued_ms=\d+ waited_ms=0"
        r" attempts=1 persona=default action=chat provider=openai model=test-model"
        r" finish_reason=stop latency_ms=\d+ tokens=18 prompt_tokens=11 completion_tokens=7",
        said[0],
    )
    assert re.match(
        r"turn\.failed channel=#lobby request_id=r2 duration_ms=\d+ queued_ms=\d+"
        r" persona=default provider=openai code=provider_auth error=\"",
        said[1],
    )
    assert re.match(
        r"channel\.persona channel=#lobby request_id=r3 duration_ms=\d+ persona=concise", said[2]
    )
    assert re.match(r"channel\.reset channel=#lobby request_id=r4 duration_ms=\d+", said[3])
    assert len(said) == 4


@pytest.mark.process
async def test_a_turn_that_is_stopped_is_logged_as_cancelled(
    tmp_path: Path, llm: LLMServer
) -> None:
    llm.plan(Behaviour(hang_after=0))
    async with running(tmp_path, configuration(llm)) as service:
        await service.bot.chat("Hi", request_id="r1")
        await llm.wait_for_requests(1)
        await service.bot.ask("stop")
        await service.logged(lambda: bool(events(service, "turn.cancelled")))
        assert "channel=#lobby request_id=r1" in events(service, "turn.cancelled")[0]


@pytest.mark.process
async def test_at_debug_messages_are_logged_as_they_are_taken_and_refused(
    tmp_path: Path, llm: LLMServer
) -> None:
    config = configuration(llm, log={"level": "debug"})
    async with running(tmp_path, config) as service:
        await service.bot.ask("Hi", request_id="r1")
        await service.bot.call("llm.request", {"action": "dance", "channel_id": "c"})
        await service.logged(lambda: bool(events(service, "message.refused")))
        accepted = "message.accepted channel=#lobby request_id=r1 command=chat"
        assert accepted in service.log
        assert re.search(r"message\.refused channel=c .*code=invalid_request", service.log)
        assert service.log.index(accepted) < service.log.index("turn.answered channel=#lobby")


@pytest.mark.process
@pytest.mark.parametrize("shape", ["text", "json"])
async def test_no_user_can_forge_a_log_line(tmp_path: Path, llm: LLMServer, shape: str) -> None:
    config = configuration(llm, log={"format": shape, "level": "debug", "content": True})
    breaks = ["\n", "\r\n", "\x1b[2K\r", "\x85", "\u2028", "\u202e", '" ']
    async with running(tmp_path, config) as service:
        for number, end in enumerate(breaks):
            forged = f"a{end}{FORGERY}"
            request_id = f"r{number}"
            await service.bot.ask(
                f"Hi{end}{FORGERY}", channel=forged, username=forged, request_id=request_id
            )
        await service.bot.ask("persona nobody", channel="#last", request_id="last")
        await service.logged(lambda: "unknown_persona" in service.log)
        lines = service.lines
    assert all("\x1b" not in line and "\u202e" not in line for line in lines)
    turns = [line for line in lines if "rosey_llm.turn" in line]
    assert len(turns) == 2 * (len(breaks) + 1)
    if shape == "json":
        told = [orjson.loads(line) for line in turns]
        answered = [each["channel"] for each in told if each["event"] == "turn.answered"]
        assert answered == [f"a{end}{FORGERY}" for end in breaks]
    else:
        assert all(LINE.match(line) for line in lines)
        # Outside quotes each line has only one event and one channel.
        bare = [re.sub(r'"(\\.|[^"\\])*"', '""', line) for line in turns]
        assert len([line for line in bare if "turn.answered" in line]) == len(breaks)
        assert not [line for line in bare if "#vip" in line or line.count("channel=") > 1]


@pytest.mark.process
async def test_json_is_one_object_a_line_with_the_fields_as_keys(
    tmp_path: Path, llm: LLMServer
) -> None:
    async with running(tmp_path, configuration(llm, log={"format": "json"})) as service:
        await service.bot.ask("Hi", request_id="r1")
        await service.logged(lambda: "turn.answered" in service.log)
        record = next(each for each in service.records if each.get("event") == "turn.answered")
    assert record["duration_ms"] >= record["latency_ms"] >= 0
    assert record["ts"].endswith("Z")
    expected = {
        "level": "info",
        "logger": "rosey_llm.turn",
        "event": "turn.answered",
        "channel": "#lobby",
        "request_id": "r1",
        "provider": "openai",
        "tokens": 18,
    }
    assert expected.items() <= record.items()


@pytest.mark.process
async def test_content_is_not_logged_by_default(tmp_path: Path, llm: LLMServer) -> None:
    quoted = {"error": {"message": "I will not answer: my secret plan"}}
    more = {"models": {"allow": ["openai/gpt-*"]}, "permissions": {"model": "*"}}
    config = configuration(llm, log={"level": "debug"}, **more)
    async with running(tmp_path, config) as service:
        await service.bot.ask("my secret plan", request_id="r1")
        llm.plan(Behaviour(status=400, body=quoted))
        failed = await service.bot.ask("my secret plan", request_id="r2")
        unlisted = await service.bot.ask("model secretive", request_id="r2b")
        await service.bot.ask("persona secretive", request_id="r3")
        await service.logged(lambda: "request_id=r3 duration" in service.log)
        log = service.log
    assert "my secret plan" in failed["error"]
    assert "secretive" in unlisted["error"]
    assert "I will not answer: [...]" in log
    assert "secret" not in log
    assert "alice" not in log
    assert "sk-run-key" not in log


@pytest.mark.process
async def test_content_is_logged_and_cut_if_it_is_enabled(tmp_path: Path, llm: LLMServer) -> None:
    config = configuration(llm, log={"format": "json", "content": True})
    async with running(tmp_path, config) as service:
        await service.bot.ask("word " * 1000, request_id="r1")
        await service.logged(lambda: "turn.answered" in service.log)
        record = next(each for each in service.records if each.get("event") == "turn.answered")
    assert record["user"] == "alice"
    assert record["said"] == f"{('word ' * 1000)[:VALUE_LIMIT]}..."
    assert record["answer"].startswith("You said: word word")
    assert len(record["answer"]) == VALUE_LIMIT + 3


@pytest.mark.process
async def test_at_level_warning_failed_turns_are_logged_and_no_others(
    tmp_path: Path, llm: LLMServer
) -> None:
    async with running(tmp_path, configuration(llm, log={"level": "warning"})) as service:
        await service.bot.ask("Hi", request_id="answered")
        llm.plan(Behaviour(hang_after=0))
        await service.bot.chat("Hi", request_id="stopped")
        await llm.wait_for_requests(2)
        await service.bot.ask("stop")
        llm.plan(Behaviour(status=500, body={"error": {"message": "no"}}))
        await service.bot.ask("Hi", request_id="failed")
        await service.logged(lambda: bool(events(service, "turn.failed")))
        turns = [line.split("Z ")[1] for line in service.lines if "rosey_llm.turn" in line]
    assert len(turns) == 1
    assert turns[0].startswith(
        "warning rosey_llm.turn turn.failed channel=#lobby request_id=failed"
    )


@pytest.mark.process
async def test_a_reload_changes_format_and_level(tmp_path: Path, llm: LLMServer) -> None:
    async with running(tmp_path, configuration(llm, log={"level": "warning"})) as service:
        await service.bot.ask("Hi", request_id="r1")
        changed = configuration(llm, log={"level": "info", "format": "json"})
        (tmp_path / "rosey-llm.toml").write_text(tomlkit.dumps(changed))
        service.process.send_signal(signal.SIGHUP)
        await service.logged(lambda: "reloaded" in service.log)
        await service.bot.ask("Hi", request_id="r2")
        await service.logged(lambda: '"request_id":"r2"' in service.log)
        assert "r1" not in service.log


@pytest.mark.process
async def test_a_pipe_that_is_not_read_blocks_no_channel_and_loses_no_held_line(
    tmp_path: Path, llm: LLMServer
) -> None:
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    try:
        async with running(tmp_path, configuration(llm), stderr=writing) as service:
            os.close(writing)
            answers = await asyncio.gather(
                *(service.bot.ask("Hi", channel=f"c{n}", request_id=f"r{n}") for n in range(60))
            )
            assert {answer["type"] for answer in answers} == {"llm_response"}
            read = asyncio.create_task(asyncio.to_thread(_read_all, reading))
            assert await service.end() == 0
            log = (await read).decode()
    finally:
        os.close(reading)
    lines = [line for line in log.splitlines() if "turn.answered" in line]
    assert all(LINE.match(line) for line in lines)
    assert {f"request_id=r{n} " in log for n in range(60)} == {True}


@pytest.mark.process
async def test_lines_beyond_the_limit_are_dropped_and_counted(
    tmp_path: Path, llm: LLMServer
) -> None:
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    config = configuration(llm, log={"level": "debug", "content": True})
    try:
        async with running(tmp_path, config, stderr=writing) as service:
            os.close(writing)
            for n in range(4):
                asked = (service.bot.ask("word " * 200, channel=f"{n}-{m}" * 50) for m in range(50))
                await asyncio.gather(*asked)
            read = asyncio.create_task(asyncio.to_thread(_read_all, reading))
            assert await service.end() == 0
            log = (await read).decode()
    finally:
        os.close(reading)
    dropped = re.findall(r"warning rosey_llm\.log log\.dropped (\d+) lines were dropped here", log)
    written = len([line for line in log.splitlines() if LINE.match(line)])
    # Two lines per message: each was either dropped and counted, or is there and complete.
    assert sum(map(int, dropped)) + written >= 400
    assert int(dropped[0]) > 0


@pytest.mark.process
async def test_a_closed_pipe_stops_nothing(tmp_path: Path, llm: LLMServer) -> None:
    reading, writing = os.pipe()
    async with running(tmp_path, configuration(llm), stderr=writing) as service:
        os.close(writing)
        os.close(reading)
        for _ in range(3):
            assert (await service.bot.ask("Hi"))["type"] == "llm_response"
        assert await service.end() == 0


def _read_all(descriptor: int) -> bytes:
    parts = []
    while part := os.read(descriptor, 65536):
        parts.append(part)
    return b"".join(parts)


def record_of(message: object, error: Exception | None = None) -> logging.LogRecord:
    exc_info = (type(error), error, error.__traceback__) if error else None
    return logging.LogRecord("rosey_llm.x", logging.ERROR, "", 0, message, (), exc_info)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("plain", "plain"),
        ("#lobby", "#lobby"),
        ("two words", '"two words"'),
        ("", '""'),
        ('say "no"', r'"say \"no\""'),
        ("a=b", '"a=b"'),
        ("back\\slash", r'"back\\slash"'),
        ("a\nb", r'"a\nb"'),
        ("\x9b31m", r'"\u009b31m"'),
        ("\ud800", r'"\ud800"'),
        ("\U000e0001", r'"\udb40\udc01"'),
        ("größe", "größe"),
        ("größe 🙂", '"größe 🙂"'),
        ([1, "a"], "\"[1, 'a']\""),
        (12, "12"),
        (True, "true"),
        (0.5, "0.5"),
    ],
)
def test_a_value_is_one_word_or_quoted(value: object, shown: str) -> None:
    assert str(LogEvent("it", {"key": value, "nothing": None})) == f"it key={shown}"


def test_a_text_line_has_the_event_the_sentence_and_the_fields_that_it_does_not_name() -> None:
    fields = {"event": "it.failed", "path": Path("a b"), "status": 503, "gone": None}
    record = logging.LogRecord("rosey_llm.x", logging.ERROR, "", 0, "No %(path)s.", (fields,), None)
    text = TextFormat().format(record)
    assert text.split("Z ")[1] == "error rosey_llm.x it.failed No a b. status=503"
    told = orjson.loads(JsonFormat().format(record))
    del told["ts"]
    assert told == {
        "level": "error",
        "logger": "rosey_llm.x",
        "event": "it.failed",
        "message": "No a b.",
        "path": "a b",
        "status": 503,
    }


def test_a_mapping_that_a_library_logs_names_no_event_of_ours() -> None:
    fields = {"event": "turn.answered", "channel": "#vip"}
    record = logging.LogRecord("nats", logging.INFO, "", 0, "Got %(event)s", (fields,), None)
    assert TextFormat().format(record).endswith("info nats library.logged Got turn.answered")
    told = orjson.loads(JsonFormat().format(record))
    assert (told["event"], "channel" in told) == ("library.logged", False)


def test_control_characters_in_fields_and_sentence_stay_on_their_line() -> None:
    fields = {"event": "it.failed", "error": ValueError(f"x\n{FORGERY}\x1b[2K"), "why": "a\nb"}
    record = logging.LogRecord("rosey_llm.x", 40, "", 0, "No: %(error)s", (fields,), None)
    for form in (TextFormat(), JsonFormat()):
        line = form.format(record)
        assert line.splitlines() == [line]
        assert "\x1b" not in line


@pytest.mark.parametrize("value", ["\ud800", 2**70, object(), {"a": 1}, "\x00\n\u2028"])
def test_any_value_of_a_field_is_one_line_of_json(value: object) -> None:
    line = JsonFormat().format(record_of(LogEvent("it", {"key": value})))
    assert line.splitlines() == [line]
    assert orjson.loads(line)["event"] == "it"


def test_a_traceback_cannot_be_taken_for_log_lines() -> None:
    try:
        raise ValueError(f"oh\n{FORGERY}\x85{FORGERY}")
    except ValueError as exc:
        record = record_of("The actor crashed.", exc)
    first, *trace = TextFormat().format(record).splitlines()
    assert LINE.match(first)
    assert 'The actor crashed. exception="ValueError: oh\\n' in first
    assert trace
    assert all(line.startswith("    ") for line in trace)
    told = orjson.loads(JsonFormat().format(record))
    assert told["message"] == "The actor crashed."
    assert told["exception"].startswith("Traceback (most recent call last):\n")
