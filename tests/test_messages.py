"""`docs/messages.md` names every field of every message, and no others."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from types import ModuleType
from typing import Any, get_args, get_type_hints

import orjson
import pytest

from engine import errors as engine_errors
from engine.commands.outcomes import Action, Answer, Failure, RequestStatus, StatusState
from engine.traffic.wire import ALIASES, ChatBody, RequestBody
from providers import errors as provider_errors
from providers.base import Usage
from providers.http.draft import FINISH_REASONS
from providers.validation import Range
from tests.support.service_harness import House

ROOT = Path(__file__).parents[1]
DOCUMENT = (ROOT / "docs" / "messages.md").read_text()
NOT_READ = "command"  # bots send it, and the engine ignores it
IN = {"rosey.command.chat": ChatBody, "llm.request": RequestBody}


def section(name: str) -> str:
    return DOCUMENT.split(f"\n## `{name}`\n")[1].split("\n## ")[0]


def rows(name: str) -> dict[str, str]:
    """Return what the section's table says of each field."""
    return dict(re.findall(r"^\| `(\w+)` \|(.*)\|$", section(name), re.MULTILINE))


def examples(text: str) -> list[dict[str, Any]]:
    found = re.findall(r"^```json\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return [orjson.loads(each) for block in found for each in block.split("\n\n")]


def answer() -> dict[str, Any]:
    """Return an answer with every possible field."""
    filled: dict[str, Any] = dict.fromkeys(Answer._fields, "")
    message: dict[str, Any] = orjson.loads(Answer(**filled | {"usage": Usage(1, 1)}).encode())
    return message | {"correlation_id": ""}


def failure() -> dict[str, Any]:
    filled: dict[str, Any] = dict.fromkeys(Failure._fields, "")
    message: dict[str, Any] = orjson.loads(Failure(**filled).encode())
    return message | {"correlation_id": ""}


@pytest.mark.parametrize("subject", IN)
def test_every_field_that_is_read_is_named_and_no_other(subject: str) -> None:
    fields = {field.name: field for field in dataclasses.fields(IN[subject])}
    assert rows(subject).keys() - {NOT_READ} == fields.keys()
    for name, field in fields.items():
        # A reset has no message.
        refused = field.default is dataclasses.MISSING or name == "message"
        assert rows(subject)[name].startswith(" refused") is refused, name
    for alias, name in ALIASES:
        assert f"`{alias}` is accepted, too" in rows(subject)[name]


@pytest.mark.parametrize("subject", IN)
def test_every_choice_and_range_of_a_field_that_is_read_is_named(subject: str) -> None:
    for name, hint in get_type_hints(IN[subject], include_extras=True).items():
        for inner in (hint, *get_args(hint)):
            for bound in get_args(inner):
                if isinstance(bound, Range):
                    assert bound.expectation() in rows(subject)[name]
                elif isinstance(bound, str):
                    assert f"`{bound}`" in rows(subject)[name]


def test_every_field_of_an_answer_is_named_and_no_other() -> None:
    there = rows("llm.response")
    assert there.keys() == answer().keys()
    for name in answer()["usage"]:
        assert f"`{name}`" in there["usage"]
    for action in get_args(Action):
        assert f"`{action}`" in there["action"]
    for reason in {*FINISH_REASONS.values(), "other"}:
        assert f"`{reason}`" in there["finish_reason"]


def test_every_field_of_an_error_is_named_and_no_other() -> None:
    assert rows("llm.error").keys() == failure().keys()


async def test_every_field_of_a_delta_is_named_and_no_other(house: House) -> None:
    await house.open()
    await house.bot.chat("Hello")
    (first, *_, last) = await house.bot.deltas(2)
    assert rows("llm.stream").keys() == first.keys() | last.keys() | {"correlation_id"}
    found = [each.keys() for each in examples(section("llm.stream"))]
    assert found == [first.keys(), last.keys()]


def test_every_field_and_state_of_a_status_is_named_and_no_other() -> None:
    status = orjson.loads(RequestStatus("#c", "r", "alice", "queued", 3).encode())
    assert rows("llm.status").keys() == status.keys()
    assert [each.keys() for each in examples(section("llm.status"))] == [status.keys()]
    for state in get_args(StatusState):
        assert f"`{state}`" in rows("llm.status")["state"]


async def test_the_statistics_of_the_micro_service_are_as_in_the_example(house: House) -> None:
    await house.open()
    (endpoint, _) = (await house.bot.call("$SRV.STATS", b""))["endpoints"]
    (example,) = examples(DOCUMENT.split("\n## The NATS micro service\n")[1])
    assert example.keys() == endpoint.keys()
    assert example["data"].keys() == endpoint["data"].keys()
    assert example["data"]["turns"].keys() == endpoint["data"]["turns"].keys()


def test_the_examples_have_no_field_that_is_not_there() -> None:
    (asked,), (failed,) = (examples(section(name)) for name in ("llm.request", "llm.error"))
    sent, answered = examples(DOCUMENT.split("\n## Subjects\n")[1].split("\n## ")[0])
    assert asked.keys() <= rows("llm.request").keys()
    assert sent.keys() <= rows("rosey.command.chat").keys()
    assert failed.keys() == failure().keys() - {
        "retry_after_s",
        "ahead",
        "partial",
        "limit",
        "scope",
        "resets_at",
        "correlation_id",
    }
    assert answered.keys() == answer().keys() - {"correlation_id", "parts"}


def codes_of(module: ModuleType) -> set[str]:
    codes = [getattr(each, "code", None) for each in vars(module).values()]
    return {code for code in codes if isinstance(code, str)}


def test_every_code_of_an_error_is_named_and_no_other() -> None:
    table = DOCUMENT.split("\n## Error codes\n")[1].split("\n## ")[0]
    named = set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE))
    assert named == codes_of(engine_errors) | codes_of(provider_errors)


@pytest.mark.parametrize(("provider", "note"), [("vllm", ""), ("local", " (answered by local)")])
def test_a_bot_can_show_that_a_fallback_answered(provider: str, note: str) -> None:
    (code,) = re.findall(r"<!-- tested: fallback -->\n```python\n(.*?)```", DOCUMENT, re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)  # noqa: S102 -- the code of our own document
    assert names["shown"]({"content": "Hi!", "provider": provider}, "vllm") == f"Hi!{note}"
    assert names["shown"]({"content": "Stopped."}, "vllm") == "Stopped."
