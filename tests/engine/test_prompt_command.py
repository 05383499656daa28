"""`rosey-llm history prompt`: every prompt is rebuilt as the model was given it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.fakes.llm_server import Behaviour, LLMServer
from tests.support.history_command import copy_of, history, lines
from tests.support.service_harness import House

pytestmark = pytest.mark.process


def test_every_prompt_is_rebuilt_as_the_model_was_given_it(told: Path) -> None:
    answers = [row for row in lines(told, "export") if row["kind"] == "answer"]
    assert len(answers) == 5
    for answer in answers:
        (prompt,) = lines(told, "prompt", answer["request_id"])
        assert prompt["exact"] is True
    (prompt,) = lines(told, "prompt", answers[-1]["request_id"])
    assert [message["role"] for message in prompt["messages"]] == [
        "system",
        "user",
        "assistant",
        "user",
    ]
    assert prompt["messages"][1]["content"] == "bob: after the reset"
    assert prompt["outcome"]["details"]["attempts"] == 1
    assert all(prompt["times"].values())
    shown = history(told, "prompt", answers[-1]["request_id"]).stdout
    assert "prompt:        exact" in shown
    assert "\x1b" not in shown


def test_a_prompt_that_cannot_be_the_same_says_why(told: Path, tmp_path: Path) -> None:
    copied = copy_of(told, tmp_path)
    answer = [row for row in lines(told, "export") if row["kind"] == "answer"][-1]
    with closing(sqlite3.connect(copied, isolation_level=None)) as connection:
        connection.execute(
            "UPDATE history SET erased_ms = ?, username = NULL, content = ''"
            " WHERE content = 'after the reset'",
            (answer["ts_ms"] + 1,),
        )
    (prompt,) = lines(tmp_path, "--database", str(copied), "prompt", answer["request_id"])
    assert prompt["exact"] is False
    assert "was erased on" in prompt["doubts"][0]
    assert "[erased on" in prompt["messages"][1]["content"]
    with closing(sqlite3.connect(copied, isolation_level=None)) as connection:
        connection.execute("UPDATE history SET erased_ms = NULL, content = 'forged' WHERE id = 9")
    shown = history(tmp_path, "--database", str(copied), "prompt", answer["request_id"]).stdout
    assert "not what the model was given: Rows of this channel may have been changed" in shown


def test_requests_without_a_prompt_and_unknown_ones_are_explained(told: Path) -> None:
    by_kind = {row["kind"]: row["request_id"] for row in lines(told, "export")}
    shown = history(told, "prompt", by_kind["reset"]).stdout
    assert "none: reset needs no model" in shown
    unknown = history(told, "prompt", by_kind["reset"][:-1])
    assert unknown.returncode == 1
    assert f'Did you mean "{by_kind["reset"]}"' in unknown.stderr


async def test_prompts_of_failures_completions_and_several_channels(
    house: House, llm: LLMServer, tmp_path: Path
) -> None:
    await house.open()
    await house.bot.ask("Hello", channel="#a", request_id="same")
    await house.bot.ask("Hello", channel="#b", request_id="same")
    raw = {"action": "complete", "channel_id": "#a", "message": "Once", "request_id": "raw"}
    await house.bot.call("llm.request", raw)
    llm.plan(Behaviour(status=500))
    failed = await house.bot.ask("Again", channel="#a", request_id="failed")
    assert failed["type"] == "llm_error"
    database = str(tmp_path / "data" / "rosey-llm.db")
    several = history(tmp_path, "--database", database, "prompt", "same")
    assert several.returncode == 2
    assert "#a, #b" in several.stderr
    (one,) = lines(tmp_path, "--database", database, "prompt", "same", "--channel", "#b")
    assert (one["channel"], one["exact"]) == ("#b", True)
    (completion,) = lines(tmp_path, "--database", database, "prompt", "raw")
    assert completion["messages"] == [{"role": "user", "content": "Once"}]
    (failure,) = lines(tmp_path, "--database", database, "prompt", "failed")
    assert [message["content"] for message in failure["messages"][1:]] == [
        "Hello",
        "You said: Hello",
        "Again",
    ]
    assert (failure["exact"], failure["outcome"]["code"]) == (True, failed["code"])
    # The service answers while all of this is asked.
    assert (await house.bot.ask("Still there?"))["type"] == "llm_response"


async def test_an_old_turn_still_proves_after_the_bot_was_given_another_name(
    house: House, llm: LLMServer, tmp_path: Path
) -> None:
    await house.open()
    await house.bot.ask("Hello", request_id="as Rosey")
    house.config["service"] = {"bot_name": "Beth"}
    await house.reload()
    await house.bot.ask("Hello", request_id="as Beth")
    for request_id, name in (("as Rosey", "Rosey"), ("as Beth", "Beth")):
        database = str(tmp_path / "data" / "rosey-llm.db")
        (rebuilt,) = lines(tmp_path, "--database", database, "prompt", request_id)
        assert rebuilt["exact"] is True
        assert rebuilt["messages"][0]["content"].startswith(f"Your name is {name}. You are")
    assert history(tmp_path, "--database", database, "verify").returncode == 0
