"""`rosey-llm channel show`, and what the audit page says of a channel's rule."""

from __future__ import annotations

import json
import subprocess
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import tomlkit

from engine import LLMError, LLMService
from engine.config.loading import parse
from engine.interfaces.reports.channel_settings import describe
from engine.interfaces.reports.output import visible
from providers import ScriptedProvider
from providers.base import Message, Options
from providers.errors import ProviderUnavailable
from storage import persona_versions
from tests.support import audit_database
from tests.support.command_line import COMMAND
from tests.support.patience import WAIT_S

pytestmark = pytest.mark.process

CONFIG: dict[str, Any] = {
    "default_provider": "first",
    "fallback_providers": ["second"],
    "personas": {"own": {"prompt": "Be.", "temperature": 0.1}},
    "channels": {
        "rules": [
            {
                "match": "irc/*",
                "persona": "own",
                "hint": "Be \x1b[2Jshort.",
                "model": "of-rule",
                "temperature": 0.9,
                "max_context_messages": 4,
                "max_reply_chars": 400,
                "permissions": {"reset": "mod"},
                "safety": {"deny": ["eggs"]},
            },
            {"match": "in/*", "provider": "second", "stays": ["second"]},
        ]
    },
    "providers": {
        "first": {"kind": "scripted", "max_tokens": 77},
        "second": {"kind": "scripted"},
    },
}

ODD = "in/#a\x1b[2J"


def shown(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        [COMMAND, "channel", "show", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=WAIT_S,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "rosey-llm.toml").write_text(tomlkit.dumps(CONFIG))
    return tmp_path


def test_each_setting_is_shown_with_its_source(folder: Path) -> None:
    record = json.loads(shown(folder, "irc/#a", "--json"))
    assert (record["channel"], record["asked"]) == ("irc/#a", None)
    assert record["rule"] == {"match": "irc/*", "number": 0}
    assert record["persona_version"] == persona_versions.version("Be.")
    assert record["hint_version"] == persona_versions.version("Be \x1b[2Jshort.")
    assert record["overridable"] == ["persona", "model", "temperature", "max_tokens"]
    sources = {key: (each["value"], each["source"]) for key, each in record["settings"].items()}
    roles = {key: sources.pop(key) for key in list(sources) if key.startswith("may ")}
    assert len(roles) == 12
    assert (roles["may reset"], roles["may persona"]) == (("mod", "rule"), ("*", "default"))
    safety = {key: sources.pop(key) for key in list(sources) if key.startswith("safety ")}
    assert len(safety) == 6
    assert safety["safety deny"] == (["eggs"], "rule")
    assert safety["safety on_failure"] == ("refuse", "default")
    assert sources == {
        "persona": ("own", "rule"),
        "hint": ("Be \x1b[2Jshort.", "rule"),
        "texts": (None, "default"),
        "provider": ("first", "default"),
        "fallback_providers": (["second"], "default"),
        "stays": (None, "default"),
        "model": ("of-rule", "rule"),
        "temperature": (0.1, "persona"),
        "max_tokens": (77, "provider"),
        "models": ([], "default"),
        "max_context_messages": (4, "rule"),
        "stream": (True, "default"),
        "status": (False, "default"),
        "max_reply_chars": (400, "rule"),
        "parts": (False, "default"),
        "mailbox_limit_per_user": (8, "default"),
    }


def test_it_is_shown_for_people_and_without_tricks(folder: Path) -> None:
    text = shown(folder, ODD)
    assert "\x1b" not in text + shown(folder, "irc/#a")
    for line in (
        f"channel:                {visible(ODD)}",
        "rule:                   in/*, channels.rules[1]",
        f"persona:                default, version {describe_default()} (of all channels)",
        "provider:               second (of the rule)",
        "fallback_providers:     none (of the rule)",
        "stays:                  second (of the rule)",
        "stream:                 on (of all channels)",
    ):
        assert f"{line}\n" in text
    assert "rule:                   none matches\n" in shown(folder, "#a")


def describe_default() -> str:
    return describe(parse(CONFIG, Path.cwd()), "#a", None, None).persona_version


async def test_what_was_chosen_and_who_was_asked_is_read_from_the_history(folder: Path) -> None:
    async def first(messages: Sequence[Message], _: Options) -> AsyncIterator[str]:
        if messages:
            raise ProviderUnavailable("It is down.")
        yield ""

    database = folder / "data" / "rosey-llm.db"
    providers = [ScriptedProvider({"max_retries": 0}, name="first", script=first)]
    providers.append(ScriptedProvider(name="second"))
    settings = parse(CONFIG, folder)
    async with LLMService(providers, settings=settings, database=database) as service:
        await service.set_persona("concise", "irc/#a")
        for channel in ("irc/#a", "in/#a"):
            assert (await service.chat("Hi", channel)).provider == "second"
        with pytest.raises(LLMError):
            await service.chat("Hi", "in/#a", persona="nobody")
    record = json.loads(shown(folder, "irc/#a", "--json"))
    assert record["settings"]["persona"] == {"value": "concise", "source": "channel"}
    assert record["asked"] == {"first": 1, "second": 1}
    assert "asked so far:           second in 1 turns\n" in shown(folder, "in/#a")
    with audit_database.audit(folder) as page:
        page.enter()
        pages = [page.get(f"/channel/{number}").text for number in (1, 2)]
    assert "rule <bdi>irc/*</bdi>" in pages[0]
    assert "seen by <bdi>first (1), second (1)</bdi>" in pages[0]
    assert "rule <bdi>in/*</bdi>" in pages[1]
    assert "seen by <bdi>second (1)</bdi>" in pages[1]
    with audit_database.audit(folder, "--database", str(database)) as page:
        page.enter()
        shown_there = page.get("/channel/1")
        assert shown_there.status == 200
        assert "rule <bdi>" not in shown_there.text


def test_a_wrong_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "rosey-llm.toml").write_text("nam = 1")
    done = subprocess.run(
        [COMMAND, "channel", "show", "#a"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 3
    assert 'did you mean "name"?' in done.stderr
