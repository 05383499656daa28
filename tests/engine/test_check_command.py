"""`rosey-llm check` as a user starts it: what fails, what it prints, what it leaves."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import tomlkit

from engine.clock import DAY_MS, now_ms
from engine.operations.check import Finding, could_answer
from tests.fakes.llm_server import Behaviour, LLMServer
from tests.support.archive import Archive
from tests.support.command_line import COMMAND, SCRIPTED, rosey, running
from tests.support.footprint import footprint
from tests.support.nats_logins import LOGIN, logins
from tests.support.nats_servers import Server
from tests.support.patience import WAIT_S

pytestmark = pytest.mark.process


@pytest.fixture
async def server() -> AsyncIterator[LLMServer]:
    async with LLMServer() as server:
        yield server


async def check(
    folder: Path, config: Mapping[str, Any], *options: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Write the configuration and run `rosey-llm check`, while this loop serves a fake server."""
    (folder / "rosey-llm.toml").write_text(tomlkit.dumps(config))
    return await asyncio.to_thread(
        subprocess.run,
        [COMMAND, "check", *options],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
        env={**os.environ, **environment},
    )


def configured(server: LLMServer, path: str = "/v1", **provider: Any) -> dict[str, Any]:
    openai = {"base_url": server.url + path, "api_key": "sk-check-key", "default_model": "gpt-4"}
    return {
        "default_provider": "openai",
        "fallback_providers": ["scripted"],
        "nats": {"port": 0},
        "http": {"enabled": False},
        "providers": {"openai": openai | provider},
    }


def line(done: subprocess.CompletedProcess[str], part: str) -> str:
    (found,) = [each for each in done.stdout.splitlines() if each.startswith(part)]
    return " ".join(found.split())


# --- Providers


@pytest.mark.parametrize(
    "unknown",
    [
        Behaviour(status=404, body="404 page not found", content_type="text/plain"),
        Behaviour(body={"error": "Unexpected endpoint or method. (POST /chat/completions)"}),
        Behaviour(body="<html></html>", content_type="text/html"),
    ],
)
async def test_an_address_without_v1_fails_and_a_fallback_does_not_help(
    server: LLMServer, tmp_path: Path, unknown: Behaviour
) -> None:
    for path in ("/models", "/chat/completions"):
        server.routes[path] = unknown
    done = await check(tmp_path, configured(server, ""))
    assert done.returncode == 1, done.stdout
    assert line(done, "provider openai").startswith("provider openai FAILS OpenAI has no chat at")
    assert line(done, "provider openai").endswith(f'did you mean base_url = "{server.url}/v1"?')
    assert line(done, "provider scripted") == "provider scripted ok"
    assert done.stdout.splitlines()[-1] == "The service cannot answer."


@pytest.mark.parametrize(
    ("provider", "told"),
    [
        ({"default_model": "gpt4"}, 'has no model "gpt4"; did you mean "gpt-4"?'),
        ({"default_model": "${ROSEY_LLM_NOT_SET}"}, "providers.openai.default_model is empty"),
        ({"default_model": ""}, "the server has llama3.2:latest, gpt-4, anthropic/claude-3-sonnet"),
        ({"api_key": "sk-wrong-key"}, "Incorrect API key; check providers.openai.api_key"),
    ],
)
async def test_a_wrong_model_or_key_fails(
    server: LLMServer, tmp_path: Path, provider: dict[str, Any], told: str
) -> None:
    server.api_key = "sk-check-key"
    done = await check(tmp_path, configured(server, **provider))
    assert done.returncode == 1
    assert "provider openai FAILS" in line(done, "provider openai")
    assert told in line(done, "provider openai")


async def test_it_says_where_each_price_comes_from_if_there_are_prices(
    tmp_path: Path, server: LLMServer
) -> None:
    config = configured(server)
    silent = await check(tmp_path, config)
    assert "\nprice " not in silent.stdout
    config["prices"] = {"gpt-4*": {"input": 2.0, "output": 8.5}}
    done = await check(tmp_path, config)
    assert done.returncode == silent.returncode == 0
    lines = {tuple(line.split(maxsplit=3)) for line in done.stdout.splitlines()}
    known = '2 and 8.5 USD for a million tokens in and out, from [prices] "gpt-4*"'
    assert ("price", "openai/gpt-4", "ok", known) in lines
    unknown = "no price is known: add the model to [prices]"
    assert ("price", "scripted/scripted", "off", unknown) in lines


async def test_a_provider_that_is_down_is_answered_for_by_the_next(tmp_path: Path) -> None:
    async with LLMServer() as server:
        pass
    done = await check(tmp_path, configured(server))
    assert done.returncode == 0
    assert "FAILS" in line(done, "provider openai")
    assert done.stdout.splitlines()[-1] == "The service can answer."


async def test_a_fallback_that_is_misconfigured_stops_nothing(
    server: LLMServer, tmp_path: Path
) -> None:
    config = configured(server, default_model="typo")
    config |= {"default_provider": "scripted", "fallback_providers": ["openai"]}
    done = await check(tmp_path, config)
    assert done.returncode == 0
    assert "FAILS" in line(done, "provider openai")


@pytest.mark.parametrize(
    ("first", "second", "can"),
    [
        ((True, False), (False, True), True),
        ((False, False), (True, False), True),
        ((False, True), (True, False), False),
        ((False, False), (False, False), False),
    ],
)
def test_a_service_can_answer_if_its_first_provider_needs_no_person(
    first: tuple[bool, bool], second: tuple[bool, bool], can: bool
) -> None:
    providers = [
        Finding(f"provider {name}", works, "", misconfigured=wrong)
        for name, (works, wrong) in (("a", first), ("b", second))
    ]
    unused = Finding("provider c", False, "", needed=False, misconfigured=True)
    assert could_answer([Finding("NATS", True, ""), *providers, unused], "passing") is can
    assert not could_answer([Finding("NATS", False, ""), *providers], "any")


# --- What it prints


def test_it_says_first_which_file_it_read(tmp_path: Path) -> None:
    (tmp_path / "rosey-llm.toml").write_text(SCRIPTED)
    (tmp_path / "bad.toml").write_text("nam = 3")
    (tmp_path / "empty").mkdir()
    first = rosey(tmp_path, "check").stdout.splitlines()[0]
    assert first == f"Configuration: {tmp_path}/rosey-llm.toml"
    first = rosey(tmp_path / "empty", "check", "-c", "../rosey-llm.toml").stdout.splitlines()[0]
    assert Path(first.removeprefix("Configuration: ")).samefile(tmp_path / "rosey-llm.toml")
    first = rosey(tmp_path / "empty", "check").stdout.splitlines()[0]
    missing = tmp_path / "empty" / "rosey-llm.toml"
    assert first == f"Configuration: built-in defaults; there is no {missing}"
    done = rosey(tmp_path, "check", "--config", "bad.toml")
    assert (done.returncode, done.stdout) == (3, f"Configuration: {tmp_path}/bad.toml\n")
    assert 'nam: unknown key; did you mean "name"?' in done.stderr


async def test_json_is_one_object_with_all_findings(server: LLMServer, tmp_path: Path) -> None:
    done = await check(tmp_path, configured(server, default_model="gpt4"), "--json")
    assert (done.returncode, done.stderr) == (1, "")
    found = json.loads(done.stdout)
    assert list(found) == ["file", "findings", "notes", "can_answer"]
    assert (found["file"], found["can_answer"]) == (str(tmp_path / "rosey-llm.toml"), False)
    assert found["notes"] == []
    findings = {each.pop("part"): each for each in found["findings"]}
    assert list(findings) == ["NATS", "database", "provider openai", "provider scripted"]
    assert findings["provider scripted"] == {"ok": True, "needed": True, "detail": ""}
    assert findings["provider openai"]["misconfigured"] is True
    done = await check(tmp_path, configured(server), "--json")
    assert (done.returncode, json.loads(done.stdout)["can_answer"]) == (0, True)


def test_json_without_a_file_and_with_a_wrong_one(tmp_path: Path) -> None:
    found = json.loads(rosey(tmp_path, "check", "--json").stdout)
    assert found["file"] is None
    (tmp_path / "rosey-llm.toml").write_text("nam = 3")
    done = rosey(tmp_path, "check", "--json")
    found = json.loads(done.stdout)
    assert (done.returncode, done.stderr, found["can_answer"]) == (3, "", False)
    assert "nam: unknown key" in found["error"]


# --- What it leaves


def test_it_leaves_a_fresh_folder_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "rosey-llm.toml").write_text(SCRIPTED)
    before = footprint(tmp_path)
    done = rosey(tmp_path, "check")
    assert (done.returncode, done.stderr) == (0, "")
    assert footprint(tmp_path) == before


def test_it_leaves_the_data_of_a_service_as_they_were(tmp_path: Path) -> None:
    (tmp_path / "rosey-llm.toml").write_text(SCRIPTED)
    rosey(tmp_path, "chat", said="Hello\n")
    before = footprint(tmp_path)
    assert rosey(tmp_path, "check").returncode == 0
    assert footprint(tmp_path) == before


def test_it_does_not_disturb_a_running_service(tmp_path: Path) -> None:
    # The search index is a file that the service makes when it has nothing else to do.
    config = f"{SCRIPTED}[storage]\nsearch_index = false\n"
    (tmp_path / "rosey-llm.toml").write_text(config)
    with running(tmp_path):
        assert rosey(tmp_path, "chat", said="Hello\n").stdout == "You said: Hello\n"
        names = sorted(tmp_path.rglob("*"))
        log = (tmp_path / "data" / "nats" / "nats-server.log").read_bytes()
        done = rosey(tmp_path, "check")
        assert done.stdout.count("in use by a running service") == 2
        assert sorted(tmp_path.rglob("*")) == names
        assert (tmp_path / "data" / "nats" / "nats-server.log").read_bytes() == log
        assert rosey(tmp_path, "chat", said="Hello\n").stdout == "You said: Hello\n"


# --- NATS


async def test_each_fault_of_a_nats_server_has_a_line(server: LLMServer, tmp_path: Path) -> None:
    limits = "\nmax_payload: 65536"
    async with Server(tmp_path, logins(hears=["llm.request"]) + limits) as nats:
        config = configured(server) | {"nats": {"url": nats.url, **LOGIN}}
        done = await check(tmp_path, config)
    assert done.returncode == 1
    lines = [each for each in done.stdout.splitlines() if each.startswith("NATS")]
    assert [each.split()[1] for each in lines] == ["FAILS", "FAILS"]
    assert "may not subscribe to rosey.command.chat" in lines[0]
    assert "max_payload of 65536 bytes" in lines[1]
    assert "Note: Whether another engine uses" in done.stdout


async def test_another_service_on_the_same_subjects_fails_and_the_own_one_does_not(
    server: LLMServer, tmp_path: Path
) -> None:
    async with Server(tmp_path, "") as nats:
        config = configured(server) | {"nats": {"url": nats.url}}
        (tmp_path / "other").mkdir()
        (tmp_path / "rosey-llm.toml").write_text(tomlkit.dumps(config))
        process = await asyncio.create_subprocess_exec(
            *(COMMAND, "run"), cwd=tmp_path, stdout=asyncio.subprocess.PIPE
        )
        assert process.stdout is not None
        try:
            async with asyncio.timeout(WAIT_S):
                assert b"is ready" in await process.stdout.readline()
            own = await check(tmp_path, config)
            other = await check(tmp_path / "other", config)
        finally:
            process.terminate()
            await process.communicate()
    assert own.returncode == 0, own.stdout
    running = f"{nats.url}, in use by a running service: rosey-llm (process {process.pid} on "
    assert line(own, "NATS").startswith(f"NATS ok {running}")
    assert other.returncode == 1
    assert "another engine listens on rosey.command.chat and llm.request" in other.stdout


# --- Retention


def test_a_held_retention_is_a_note_until_it_is_confirmed(tmp_path: Path) -> None:
    path = tmp_path / "data" / "rosey-llm.db"
    path.parent.mkdir()
    with closing(Archive(path)) as archive:
        archive.say("old", "", ts_ms=now_ms() - 400 * DAY_MS)
    before = footprint(tmp_path)
    (tmp_path / "rosey-llm.toml").write_text(SCRIPTED)
    assert "Note:" not in rosey(tmp_path, "check").stdout  # nothing is to be erased
    (tmp_path / "rosey-llm.toml").write_text(SCRIPTED + "[storage]\nretention_days = 365\n")
    held = rosey(tmp_path, "check")
    assert "Note: Nothing is erased by age: the clock stands 400 days past" in held.stdout
    assert "run `rosey-llm retention confirm`" in held.stdout
    assert held.returncode == 0
    assert footprint(tmp_path).keys() - before.keys() == {"rosey-llm.toml"}
    with running(tmp_path) as ready:
        assert ready
        assert "400 days past" in rosey(tmp_path, "check").stdout
    assert "its next start" in rosey(tmp_path, "retention", "confirm").stdout
    assert "Note:" not in rosey(tmp_path, "check").stdout
