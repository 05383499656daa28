"""Usage over real parts: what each turn is charged with, and what `rosey-llm usage` says."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path
from typing import Any

import orjson
import pytest
import tomlkit

from storage import usage
from tests.fakes.llm_server import Behaviour, LLMServer
from tests.support.archive import Archive
from tests.support.clocks import zone_at_noon
from tests.support.command_line import rosey
from tests.support.service_harness import House


def sums(house: House, scope: str) -> dict[str, Any]:
    rows = house.rows("SELECT * FROM usage WHERE scope = ?", scope)
    return {name: sum(row[name] for row in rows) for name in usage.SUMS}


async def ask(house: House, words: str, **more: Any) -> dict[str, Any]:
    message = {"args": words, "channel_id": "#lobby", "username": "alice", **more}
    return await house.bot.call("rosey.command.chat", message)


async def test_a_turn_is_charged_to_each_of_its_scopes(house: House) -> None:
    house.config["limits"] = {"timezone": zone_at_noon()}
    house.config["prices"] = {"test-*": {"input": 2.0, "output": 10.0}}
    await house.open()
    await ask(house, "Hi", user_id="U1")
    await ask(house, "Hi", username="Bob")
    await ask(house, "Hi", username=None)
    await ask(house, "help")
    each = {"prompt_tokens": 11, "cached_tokens": 0, "completion_tokens": 7, "micro_usd": 92}
    for scope, requests in (
        ("*", 3), ("u:id U1", 1), ("u:name bob", 1), ("c:#lobby", 3), ("p:default", 3),
        ("e:openai", 3), ("m:test-model", 3),
    ):  # fmt: skip
        expected = {name: value * requests for name, value in each.items()}
        assert sums(house, scope) == expected | {
            "requests": requests, "estimated": 0, "unpriced": 0,
        }, scope  # fmt: skip
    assert len(house.rows("SELECT * FROM usage")) == 7


async def test_what_a_provider_does_not_count_is_estimated(house: House, llm: LLMServer) -> None:
    await house.open()
    llm.plan(Behaviour(hang_after=1), Behaviour(status=500))
    await house.bot.chat("tell me everything", request_id="long")
    await house.bot.deltas(1)
    await ask(house, "stop")
    stopped = sums(house, "*")
    assert (stopped["requests"], stopped["estimated"], stopped["unpriced"]) == (1, 1, 1)
    assert stopped["prompt_tokens"] > 10
    assert stopped["completion_tokens"] > 0
    assert (await ask(house, "Hi"))["code"] == "provider_unavailable"
    failed = sums(house, "*")
    assert failed == stopped | {"requests": 2}


async def test_an_answer_tells_what_was_cached_and_what_it_cost(
    house: House, llm: LLMServer
) -> None:
    house.config["conversation"] = {"stream": False}
    await house.open()
    counted: dict[str, Any] = {"prompt_tokens": 100, "completion_tokens": 10, "cost": 0.00125}
    counted["prompt_tokens_details"] = {"cached_tokens": 64}
    choice = {"index": 0, "message": {"content": "Hi."}, "finish_reason": "stop"}
    llm.plan(Behaviour(body={"model": "x", "choices": [choice], "usage": counted}))
    answer = await ask(house, "Hi")
    assert answer["usage"] == {
        "prompt_tokens": 100,
        "completion_tokens": 10,
        "total_tokens": 110,
        "cached_tokens": 64,
        "cost_usd": 0.00125,
    }
    assert (sums(house, "*")["cached_tokens"], sums(house, "*")["micro_usd"]) == (64, 1250)


async def test_an_erased_user_leaves_only_totals(house: House) -> None:
    await house.open()
    await ask(house, "Hi")
    asked = ("history", "erase", "--user", "alice", "--yes", "--database", "data/rosey-llm.db")
    done = await asyncio.to_thread(rosey, house.folder, *asked)  # the service, in here, erases
    assert done.returncode == 0, done.stderr
    assert sums(house, "u:name alice")["requests"] == 0
    assert sums(house, "*")["requests"] == 1


async def test_a_user_is_told_what_was_used_today(house: House) -> None:
    house.config["limits"] = {"timezone": zone_at_noon()}
    await house.open()
    for user in ("alice", "Alice", "bob", None):
        await ask(house, "Hi", username=user)
    answer = await ask(house, "usage")
    assert (answer["action"], answer["content"]) == (
        "usage",
        "Usage today: you 2 questions, 36 tokens; this channel 4 questions, 72 tokens.",
    )
    answer = await ask(house, "usage", username=None)
    assert answer["content"] == "Usage today: this channel 4 questions, 72 tokens."
    assert house.history()[-1][0] == "usage"


async def test_operators_see_usage_as_a_table_and_as_json(house: House) -> None:
    house.config["limits"] = {"timezone": zone_at_noon()}
    house.file.write_text(tomlkit.dumps({"limits": house.config["limits"]}))
    house.config["prices"] = {"test-*": {"input": 2.0, "output": 10.0}}
    await house.open()
    await ask(house, "Hi")
    await ask(house, "Hi", username="=bob\x1b[2J")
    await house.close()

    def said(*arguments: str) -> str:
        done = rosey(house.folder, "usage", "--database", "data/rosey-llm.db", *arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "requests                        2" in said()
    lines = said("--by", "user").splitlines()
    assert lines[0].split() == [
        "user",
        "requests",
        "prompt",
        "tokens",
        "cached",
        "answer",
        "tokens",
        "USD",
    ]
    assert {line.split()[0] for line in lines[1:]} == {"alice", "=bob␛[2j"}
    (total,) = orjson.loads(said("--json"))
    assert total == {
        "requests": 2, "prompt_tokens": 22, "cached_tokens": 0, "completion_tokens": 14,
        "estimated": 0, "unpriced": 0, "usd": 0.000184,
    }  # fmt: skip
    (model,) = orjson.loads(said("--by", "model", "--json"))
    assert model["model"] == "test-model"
    assert len(orjson.loads(said("--by", "day", "--days", "30", "--json"))) == 1


async def test_one_request_is_one_and_a_picture_is_drawn(house: House) -> None:
    await house.open()
    await ask(house, "Hi")
    told = await ask(house, "usage")
    assert told["content"] == (
        "Usage today: you 1 question, 18 tokens; this channel 1 question, 18 tokens."
    )
    await house.close()

    def say(*arguments: str) -> subprocess.CompletedProcess[str]:
        return rosey(house.folder, "usage", "--database", "data/rosey-llm.db", *arguments)

    lines = say("--by", "day").stdout.splitlines()
    assert lines[2] == "1 request without a price: add its model to [prices]."
    for name, start in (("plot.png", b"\x89PNG"), ("plot.svg", b"<?xml")):
        file = house.folder / name
        file.write_bytes(b"mine")
        refused = say("--plot", name)
        assert (refused.returncode, file.read_bytes()) == (1, b"mine")
        done = say("--plot", name, "--force", "--by", "model")
        assert (done.returncode, done.stderr) == (0, "")
        assert file.read_bytes().startswith(start)
    assert say("--plot", "plot.pdf").returncode == 2


@pytest.mark.process
def test_nothing_used_is_no_picture(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    Archive(tmp_path / "data" / "rosey-llm.db").close()
    done = rosey(tmp_path, "usage", "--plot", "plot.png")
    assert (done.returncode, done.stderr) == (1, "There is no usage to draw in these days.\n")
    assert not (tmp_path / "plot.png").exists()


@pytest.mark.parametrize("zone", ["Mars/Olympus", ""])
async def test_a_time_zone_that_is_none_is_named(house: House, zone: str) -> None:
    (house.folder / "rosey-llm.toml").write_text(f'[limits]\ntimezone = "{zone}"\n')
    done = rosey(house.folder, "usage")
    assert done.returncode == 3
    problem = 'limits.timezone: expected a time zone of this machine, such as "UTC" or'
    said = " ".join(done.stderr.split())
    assert problem in said
    assert f'got "{zone}"' in said
