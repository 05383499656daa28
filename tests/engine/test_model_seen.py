"""Where operators see a chosen model: history, `channel show` and the audit page."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import tomlkit

from engine import LLMService
from engine.config.allowed_models import ChosenModel
from engine.config.loading import parse
from engine.interfaces.reports.channel_settings import Setting, describe
from engine.interfaces.terminal import greeting
from engine.operations import check
from providers import ScriptedProvider
from tests.support import audit_database
from tests.support.command_line import COMMAND
from tests.support.history_command import history
from tests.support.patience import WAIT_S

CONFIG: dict[str, Any] = {
    "default_provider": "first",
    "fallback_providers": ["second"],
    "models": {"allow": ["second/*", "first/b"]},
    "permissions": {"admins": ["alice"]},
    "channels": {"rules": [{"match": "safe", "model": "of-rule", "fallback_providers": ["first"]}]},
    "providers": {"first": {"kind": "scripted"}, "second": {"kind": "scripted", "max_tokens": 5}},
}


def channel_show(folder: Path, channel: str) -> str:
    done = subprocess.run(
        [COMMAND, "channel", "show", channel],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=WAIT_S,
    )
    return done.stdout


@pytest.mark.process
async def test_a_switch_is_shown_as_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "rosey-llm.toml").write_text(tomlkit.dumps(CONFIG))
    providers = [ScriptedProvider(name=name) for name in ("first", "second")]
    database = tmp_path / "data" / "rosey-llm.db"
    settings = parse(CONFIG, tmp_path)
    async with LLMService(providers, settings=settings, database=database) as service:
        await service.show_model("#a", username="alice")
        await service.set_model("second/<b>", "#a", username="alice")
        await service.chat("Hi", "#a", username="bob")
        await service.set_model("default", "#a", username="alice")
        await service.set_model("second/<b>", "#a", username="alice")
    lines = [line[27:] for line in history(tmp_path, "show", "#a").stdout.splitlines()]
    assert lines == [
        "* alice looked at the model",
        "* alice switched the model to second/<b>",
        "bob: Hi",
        "default [second/<b>] to bob: You said: Hi",
        "* alice switched back to the configured model",
        "* alice switched the model to second/<b>",
    ]
    exported = history(tmp_path, "export", "--format", "markdown").stdout
    assert "\nalice switched the model to **second/\\<b>** · " in exported
    rows = [json.loads(line) for line in history(tmp_path, "export").stdout.splitlines()]
    assert [(each["kind"], each["provider"], each["model"]) for each in rows][:2] == [
        ("models", None, None),
        ("model", "second", "<b>"),
    ]
    assert "model:                  <b> (chosen in the channel)\n" in channel_show(tmp_path, "#a")
    with audit_database.audit(tmp_path) as page:
        page.enter()
        room, turn = page.get("/channel/1").text, page.get("/turn/4").text
    assert "chosen model <bdi>second/&lt;b&gt;</bdi>" in room
    assert "switched the model to <b><bdi>second/&lt;b&gt;</bdi></b>" in room
    assert "switched back to the configured model" in room
    assert "<dt>Model from</dt><dd><bdi>!chat model</bdi></dd>" in turn


def shown(tmp_path: Path, channel: str, model: ChosenModel | None) -> dict[str, Setting]:
    found = describe(parse(CONFIG, tmp_path), channel, None, None, model).settings
    keys = ("provider", "fallback_providers", "model", "max_tokens", "models")
    return {key: found[key] for key in (*keys, "not allowed any more") if key in found}


def test_channel_show_says_where_provider_and_model_come_from(tmp_path: Path) -> None:
    patterns = Setting(["second/*", "first/b"], "default")
    assert shown(tmp_path, "#a", None) == {
        "provider": Setting("first", "default"),
        "fallback_providers": Setting(["second"], "default"),
        "model": Setting("scripted", "provider"),
        "max_tokens": Setting(None, "provider"),
        "models": patterns,
    }
    chosen = shown(tmp_path, "#a", ChosenModel("second", "x"))
    assert chosen == {
        "provider": Setting("second", "channel"),
        "fallback_providers": Setting([], "channel"),
        "model": Setting("x", "channel"),
        "max_tokens": Setting(5, "provider"),
        "models": patterns,
    }
    safe = shown(tmp_path, "safe", ChosenModel("second", "x"))
    assert (safe["fallback_providers"], safe["model"]) == (
        Setting(["first"], "rule"),
        Setting("x", "channel"),
    )
    gone = shown(tmp_path, "safe", ChosenModel("first", "x"))
    assert gone["model"] == Setting("of-rule", "rule")
    assert gone["not allowed any more"] == Setting("first/x", "channel")


def test_the_tab_key_completes_the_models_that_are_written_out(tmp_path: Path) -> None:
    words = greeting.words(parse(CONFIG, tmp_path))
    assert {"model", "model first/b", "model default", "!chat model first/b"} <= set(words)
    assert not [word for word in words if "*" in word]


@pytest.mark.process
async def test_check_tries_the_providers_whose_models_may_be_chosen(tmp_path: Path) -> None:
    rule = {"match": "in/*", "provider": "third"}
    values = CONFIG | {"default_provider": "scripted", "fallback_providers": []}
    values |= {"models": {"allow": ["third/*", "second/a", "second/b"]}}
    values |= {"nats": {"port": 0}, "channels": {"rules": [rule]}}
    values["providers"] = CONFIG["providers"] | {"third": {"kind": "scripted"}}
    findings = (await check.report(parse(values, tmp_path))).findings
    said = {each.part: each.detail for each in findings if each.part.startswith("provider")}
    assert said["provider second"].endswith("rooms may choose its models")
    assert said["provider third"].endswith("it answers in in/*; rooms may choose its models")
    assert "rooms" not in said["provider first"]
