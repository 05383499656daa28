"""Tests that every log line names an event, and that docs/log.md lists each event truly."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from engine.monitoring.event import FOREIGN
from storage.row_kinds import KINDS
from tests.fakes.llm_server import Behaviour, LLMServer
from tests.support.service_process import configuration, running

ROOT = Path(__file__).parents[2]
ROOMS = ("engine", "providers", "storage")
LEVELS = {"debug", "info", "warning", "error", "exception", "critical", "log"}
NAME = re.compile(r"[a-z]+\.[a-z]+(?:_[a-z]+)*")
TURN_LOG = "engine/monitoring/turn_log.py"
RESERVED = {"ts", "level", "logger", "message", "exception"}
# What a mapping may be spread from, and the fields that it has.
SPREADS = {
    "origin.named": {"channel", "request_id"},
    "facts": {"provider", "code", "status", "channel", "request_id"},
}


class Row(NamedTuple):
    """An event's row in the table of docs/log.md."""

    levels: set[str]
    fields: set[str]
    meaning: str


def documented() -> dict[str, Row]:
    found: dict[str, Row] = {}
    for line in (ROOT / "docs/log.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        match = re.fullmatch(r"`([a-z]+\.\w+)`", cells[0])
        if len(cells) != 4 or match is None:
            continue
        name, (_, levels, fields, meaning) = match[1], cells
        assert name not in found, f"{name} is in two rows"
        same = re.fullmatch(r"as `(.+)`", fields)
        listed = found[same[1]].fields if same else set(re.findall(r"`(\w+)`", fields))
        found[name] = Row(set(levels.split(", ")), listed, meaning)
    return found


def log_calls() -> Iterator[tuple[str, ast.Call]]:
    """Yield every log call of ours with its place."""
    for room in ROOMS:
        for file in sorted((ROOT / room).rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text())):
                if (
                    isinstance(node, ast.Call)
                    and isinstance(node.func, ast.Attribute)
                    and node.func.attr in LEVELS
                    and re.search(r"(^|[._])(log|logger|logging)$", ast.unparse(node.func.value))
                ):
                    yield f"{file.relative_to(ROOT)}:{node.lineno}", node


def event_in(call: ast.Call) -> tuple[str, set[str]]:
    """Return the event's name and fields in a log call's last argument; "" if there is none."""
    last = call.args[-1]
    if not isinstance(last, ast.Dict):
        return "", set()
    name, fields = "", set[str]()
    for key, value in zip(last.keys, last.values, strict=True):
        if key is None:
            assert isinstance(value, ast.Call)
            fields |= SPREADS[ast.unparse(value.func)]
        elif ast.literal_eval(key) == "event":
            name = ast.literal_eval(value)
        else:
            fields.add(ast.literal_eval(key))
    return name, fields


def test_every_log_call_has_an_event_with_the_levels_and_fields_of_its_row() -> None:
    table, wrong = documented(), []
    levels, fields = defaultdict[str, set[str]](set), defaultdict[str, set[str]](set)
    for place, call in log_calls():
        if place.startswith(TURN_LOG):
            continue
        name, given = event_in(call)
        if not NAME.fullmatch(name) or name not in table or given & RESERVED:
            wrong.append(f"{place}: {name or 'no event'}")
            continue
        fields[name] |= given
        level = call.func.attr if isinstance(call.func, ast.Attribute) else ""
        # A call of `log.log` has any level; the service's own lines are compared below.
        levels[name] |= table[name].levels if level == "log" else {level}
    assert not wrong
    for name, found in levels.items():
        assert {"error" if each == "exception" else each for each in found} == table[name].levels
        assert fields[name] == table[name].fields, name


def test_each_event_in_the_table_is_logged_somewhere_and_has_a_meaning_of_its_own() -> None:
    logged = {event_in(call)[0] for _, call in log_calls()} - {""}
    turns = set(re.findall(rf'"({NAME.pattern})"', (ROOT / TURN_LOG).read_text()))
    turns |= {kind.event for kind in KINDS.values() if kind.event}
    table = documented()
    assert table.keys() == logged | turns | {"log.dropped", FOREIGN}
    meanings = [row.meaning for row in table.values()]
    assert len(set(meanings)) == len(meanings)


@pytest.mark.process
async def test_every_line_of_a_service_that_fails_and_recovers_names_an_event_of_the_table(
    tmp_path: Path, llm: LLMServer
) -> None:
    config = configuration(llm, log={"format": "json", "level": "debug"})
    config["providers"]["openai"] |= {"max_retries": 1}
    config["providers"]["second"] = config["providers"]["openai"] | {"kind": "openai"}
    config["fallback_providers"] = ["second"]
    broken = Behaviour(status=500, body={"error": {"message": "my secret plan is too much"}})
    wrong_key = Behaviour(status=401, body={"error": {"message": "no"}})
    async with running(tmp_path, config) as service:
        await service.bot.ask("Hi", request_id="answered")
        llm.plan(broken)
        await service.bot.ask("my secret plan", request_id="retried")
        llm.plan(broken, broken)
        await service.bot.ask("my secret plan", request_id="by-fallback")
        llm.plan(*[broken] * 4)
        await service.bot.ask("my secret plan", request_id="failed")
        llm.plan(wrong_key)
        await service.bot.ask("Hi", request_id="wrong-key")
        await service.bot.ask("persona nobody", request_id="unknown")
        await service.bot.ask("Hi", request_id="recovered")
        (tmp_path / "rosey-llm.toml").write_text("[nats\n")
        service.process.send_signal(1)
        await service.logged(lambda: "config.reload_failed" in service.log)
        assert await service.end() == 0
        records, log = service.records, service.log
    table = documented()
    for record in records:
        row = table[record["event"]]
        assert row.levels & {record["level"], "any"}, record
        assert record.keys() <= row.fields | RESERVED | {"event"}, record
        is_turn = record["logger"] == "rosey_llm.turn"
        assert is_turn or record["message"], record
    assert "secret" not in log

    def told(request_id: str, *events: str) -> list[tuple[str, str]]:
        mine = [each for each in records if each.get("request_id") == request_id]
        return [(each["event"], each["level"]) for each in mine if each["event"] in events]

    retry = next(each for each in records if each["event"] == "provider.retry")
    expected = {"level": "info", "provider": "openai", "code": "provider_unavailable"}
    expected |= {"channel": "#lobby", "request_id": "retried"}
    expected |= {"error": "OpenAI API error: 500 Internal Server Error: [...] is too much"}
    assert {key: retry[key] for key in expected} == expected
    assert (retry["status"], retry["attempt"]) == (500, 2)
    assert retry["wait_s"] > 0
    assert told("by-fallback", "provider.fallback") == [("provider.fallback", "warning")]
    failed = told("failed", "provider.retry", "provider.fallback_failed", "turn.failed")
    assert failed == [
        ("provider.retry", "info"),
        ("provider.retry", "info"),
        ("provider.fallback_failed", "warning"),
        ("turn.failed", "warning"),
    ]
    misconfigured = next(each for each in records if each["event"] == "provider.misconfigured")
    assert (misconfigured["status"], misconfigured["request_id"]) == (401, "wrong-key")
    assert told("unknown", "turn.failed") == [("turn.failed", "warning")]
    assert told("answered", "turn.answered") == [("turn.answered", "info")]
