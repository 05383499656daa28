"""The published schemas: made from the records, and true of what goes in and out."""

from __future__ import annotations

from typing import Any

import fastjsonschema
import pytest
import yaml

from engine.config.settings import SubjectSettings
from engine.version import WIRE_VERSION
from tests import wire_schemas
from tests.fakes.llm_server import Behaviour
from tests.support.service_harness import House
from tests.support.wire_schema import check_sent, is_valid

IN = {"chat": "rosey.command.chat", "request": "llm.request"}
CHAT: dict[str, Any] = {"args": "Hi", "channel_id": "#lobby"}
ASKED: dict[str, Any] = {"action": "chat", "channel_id": "#lobby", "message": "Hi"}


def test_the_files_are_what_the_records_say() -> None:
    written = {path.name: path.read_text() for path in wire_schemas.FOLDER.iterdir()}
    assert written == dict(wire_schemas.files())


def test_the_asyncapi_document_has_every_subject_and_its_schema() -> None:
    found = yaml.safe_load((wire_schemas.FOLDER / "asyncapi.yaml").read_text())
    subjects = vars(SubjectSettings()).values()
    channels = found["channels"]
    assert {each["address"] for each in channels.values()} == set(subjects)
    for channel in channels.values():
        for message in channel["messages"].values():
            assert (wire_schemas.FOLDER / message["payload"]["$ref"]).is_file()
    assert found["info"]["version"] == WIRE_VERSION


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("chat", CHAT),
        ("chat", CHAT | {"args": ["Is", 2.5], "username": None, "colour": "red"}),
        ("chat", {"channel": 12, "user": 7, "request_id": 5, "correlation_id": 6, "status": True}),
        ("request", ASKED),
        ("request", {"action": "reset", "channel": "c"}),
        ("request", ASKED | {"temperature": 2, "max_tokens": 1, "model": None, "stream": False}),
        (
            "request",
            ASKED | {"request_id": "r" * 128, "reply_to": "_INBOX.a", "persona": "concise"},
        ),
    ],
)
async def test_what_the_schemas_allow_is_taken(
    house: House, name: str, message: dict[str, Any]
) -> None:
    await house.open()
    assert is_valid(name, message)
    assert (await house.bot.call(IN[name], message))["type"] == "llm_response"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("chat", {"args": "Hi"}),
        ("chat", CHAT | {"args": 3}),
        ("chat", CHAT | {"args": ["Is", True]}),
        ("chat", CHAT | {"channel_id": 7.5}),
        ("chat", CHAT | {"username": False}),
        ("chat", CHAT | {"status": "yes"}),
        ("chat", CHAT | {"correlation_id": "c" * 129}),
        ("request", {"channel_id": "c", "message": "Hi"}),
        ("request", ASKED | {"action": "dance"}),
        ("request", {"action": "complete", "channel_id": "c"}),
        ("request", ASKED | {"message": 3}),
        ("request", ASKED | {"temperature": 3}),
        ("request", ASKED | {"max_tokens": 0}),
        ("request", ASKED | {"request_id": "r" * 129}),
        ("request", ASKED | {"model": 5}),
    ],
)
async def test_what_the_schemas_do_not_allow_is_refused(
    house: House, name: str, message: dict[str, Any]
) -> None:
    await house.open()
    assert not is_valid(name, message)
    assert (await house.bot.call(IN[name], message))["code"] == "invalid_request"


async def test_an_outcome_with_a_field_that_no_schema_names_is_found(house: House) -> None:
    await house.open()
    answer = await house.bot.ask("Hi")
    wrongs: list[dict[str, Any]] = [
        {"colour": "red"},
        {"latency_ms": "9"},
        {"usage": {}},
        {"action": "dance"},
    ]
    for wrong in wrongs:
        with pytest.raises(fastjsonschema.JsonSchemaException):
            check_sent(answer | wrong)
    del answer["username"]
    with pytest.raises(fastjsonschema.JsonSchemaException):
        check_sent(answer)
    house.llm.plan(Behaviour(status=401))
    error = await house.bot.ask("Hi")
    with pytest.raises(fastjsonschema.JsonSchemaException):
        check_sent(error | {"username": 3})


async def test_the_micro_service_says_the_version_of_the_wire(house: House) -> None:
    await house.open()
    answer = await house.bot.call("$SRV.INFO.rosey-llm", b"")
    assert answer["metadata"]["wire"] == WIRE_VERSION
