"""What `rosey-llm init` learns from a provider's server: its address, and its models."""

from __future__ import annotations

import asyncio
import os
import pty
import subprocess
import tomllib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.llm_server import Behaviour, LLMServer
from tests.support.command_line import COMMAND, read_until
from tests.support.patience import WAIT_S

pytestmark = pytest.mark.process
REST = "\n" * 9


@pytest.fixture
async def server() -> AsyncIterator[LLMServer]:
    async with LLMServer() as server:
        yield server


async def init(folder: Path, said: str) -> subprocess.CompletedProcess[str]:
    """Run `rosey-llm init` with a pipe, while this loop serves a fake server."""
    return await asyncio.to_thread(
        subprocess.run,
        [COMMAND, "init"],
        cwd=folder,
        input=said,
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
    )


def provider(folder: Path, name: str = "server") -> dict[str, Any]:
    values = tomllib.loads((folder / "rosey-llm.toml").read_text())
    found: dict[str, Any] = values["providers"][name]
    return found


async def test_a_servers_models_are_offered_and_the_first_is_the_default(
    server: LLMServer, tmp_path: Path
) -> None:
    server.models = ["qwen3-14b", "llama-3.1-8b"]
    done = await init(tmp_path, f"{server.url}/v1\n{REST}")
    assert done.returncode == 0, done.stderr
    assert "Which model? The server has qwen3-14b, llama-3.1-8b [qwen3-14b]: " in done.stdout
    assert provider(tmp_path)["default_model"] == "qwen3-14b"


async def test_an_address_without_v1_is_refused_with_the_one_that_works(
    server: LLMServer, tmp_path: Path
) -> None:
    server.routes["/chat/completions"] = Behaviour(status=404, body="404 page not found")
    done = await init(tmp_path, f"{server.url}\n{REST}")
    assert done.returncode == 1
    assert f'did you mean base_url = "{server.url}/v1"? To keep your answer' in done.stderr
    assert "Nothing was written." in done.stderr


async def test_a_model_that_the_server_has_not_is_refused_with_the_nearest(
    server: LLMServer, tmp_path: Path
) -> None:
    done = await init(tmp_path, f"{server.url}/v1\ngpt4\n{REST}")
    assert done.returncode == 1
    assert 'the server has no model "gpt4"; did you mean "gpt-4"?' in done.stderr


async def test_ollamas_installed_models_are_offered(server: LLMServer, tmp_path: Path) -> None:
    server.models = ["qwen3:8b", "mistral:latest"]
    done = await init(tmp_path, f"ollama\n{server.url}\n{REST}")
    assert done.returncode == 0
    assert "Which model? The server has qwen3:8b, mistral:latest [qwen3:8b]: " in done.stdout
    assert provider(tmp_path, "ollama")["default_model"] == "qwen3:8b"


async def test_the_default_model_stays_if_it_is_installed(
    server: LLMServer, tmp_path: Path
) -> None:
    server.models = ["qwen3:8b", "llama3.2:latest"]
    done = await init(tmp_path, f"ollama\n{server.url}\n{REST}")
    assert "[llama3.2]: " in done.stdout
    assert provider(tmp_path, "ollama")["default_model"] == "llama3.2"


async def test_ollamas_address_has_no_path(server: LLMServer, tmp_path: Path) -> None:
    done = await init(tmp_path, f"ollama\n{server.url}/v1\n{REST}")
    assert done.returncode == 1
    assert f'did you mean base_url = "{server.url}"?' in done.stderr


async def test_a_server_that_wants_a_key_offers_nothing_and_refuses_nothing(
    server: LLMServer, tmp_path: Path
) -> None:
    server.api_key = "not set yet"
    done = await init(tmp_path, f"{server.url}/v1\nanything\n{REST}")
    assert done.returncode == 0, done.stderr
    assert provider(tmp_path)["default_model"] == "anything"


async def test_a_person_may_keep_an_answer_or_give_another(
    server: LLMServer, tmp_path: Path
) -> None:
    server.routes["/chat/completions"] = Behaviour(status=404, body="404 page not found")

    def talk() -> None:
        pid, terminal = pty.fork()
        if pid == 0:
            os.chdir(tmp_path)
            os.execv(COMMAND, [COMMAND, "init"])
        try:
            read_until(terminal, "[ollama]: ")
            os.write(terminal, f"{server.url}\n".encode())
            assert "did you mean" in read_until(terminal, "[ollama]: ")
            os.write(terminal, f"{server.url}/v1\n".encode())
            read_until(terminal, "[llama3.2:latest]: ")
            os.write(terminal, b"coming-soon\n")
            assert "no model" in read_until(terminal, "[llama3.2:latest]: ")
            os.write(terminal, b"coming-soon\n")
            read_until(terminal, "[yes]: ")
            os.write(terminal, REST.encode())
            read_until(terminal, "Wrote rosey-llm.toml")
            os.waitpid(pid, 0)
        finally:
            os.close(terminal)

    await asyncio.to_thread(talk)
    assert provider(tmp_path)["base_url"] == f"{server.url}/v1"
    assert provider(tmp_path)["default_model"] == "coming-soon"
