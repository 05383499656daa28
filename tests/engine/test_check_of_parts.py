"""`rosey-llm check`: each part that works, or fails, has its line."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.command_line import SCRIPTED, rosey

pytestmark = pytest.mark.process


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "rosey-llm.toml").write_text(SCRIPTED)
    return tmp_path


def test_check_prints_what_works(folder: Path) -> None:
    done = rosey(folder, "check")
    assert done.returncode == 0
    assert re.search(r"^NATS +ok", done.stdout, re.MULTILINE)
    assert re.search(r"^database +ok", done.stdout, re.MULTILINE)
    assert re.search(r"^provider scripted +ok", done.stdout, re.MULTILINE)


def test_check_ends_with_1_if_the_service_cannot_answer(folder: Path) -> None:
    config = SCRIPTED.replace("scripted", "ollama") + (
        '[providers.ollama]\nbase_url = "http://127.0.0.1:9"\n[providers.openai]\napi_key = ""\n'
    )
    (folder / "rosey-llm.toml").write_text(config)
    done = rosey(folder, "check")
    assert done.returncode == 1
    assert re.search(r"^provider ollama +FAILS +.*127.0.0.1:9", done.stdout, re.MULTILINE)
    assert re.search(r"^provider openai +off +.*OPENAI_API_KEY", done.stdout, re.MULTILINE)
    assert "cannot answer" in done.stdout


def test_check_tries_the_embedded_nats(folder: Path) -> None:
    config = SCRIPTED + 'store_dir = "/proc/nats"\n'
    (folder / "rosey-llm.toml").write_text(config)
    done = rosey(folder, "check")
    assert done.returncode == 1
    assert re.search(r"^NATS +FAILS +.*/proc.*Set \[nats\] store_dir", done.stdout, re.MULTILINE)


def test_check_survives_a_provider_that_raises(folder: Path) -> None:
    (folder / "strangers.py").write_text(
        "from providers.scripted import ScriptedProvider\n"
        "class Stranger(ScriptedProvider):\n"
        "    async def status(self):\n"
        "        raise ZeroDivisionError('oh')\n"
    )
    (folder / "rosey-llm.toml").write_text(
        SCRIPTED.replace('"scripted"', '"odd"') + '[providers.odd]\nkind = "strangers:Stranger"\n'
    )
    done = rosey(folder, "check")
    assert done.returncode == 1
    assert re.search(r"^provider odd +FAILS +.*ZeroDivisionError", done.stdout, re.MULTILINE)


def test_check_starts_a_provider_before_it_asks_how_it_is_and_closes_it(folder: Path) -> None:
    (folder / "strangers.py").write_text(
        "from providers.base import Status\n"
        "from providers.scripted import ScriptedProvider\n"
        "class Stranger(ScriptedProvider):\n"
        "    async def start(self):\n"
        "        self.file = open('session', 'w')\n"
        "    async def status(self):\n"
        "        return Status(not self.file.closed)\n"
        "    async def aclose(self):\n"
        "        self.file.write('closed')\n"
        "        self.file.close()\n"
    )
    (folder / "rosey-llm.toml").write_text(
        SCRIPTED.replace('"scripted"', '"odd"') + '[providers.odd]\nkind = "strangers:Stranger"\n'
        '[providers.spare]\nkind = "scripted"\nfail = "provider_auth"\n'
    )
    done = rosey(folder, "check")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"^provider odd +ok", done.stdout, re.MULTILINE)
    assert re.search(r"^provider spare +off", done.stdout, re.MULTILINE)
    assert (folder / "session").read_text() == "closed"


def test_check_names_a_provider_that_does_not_start(folder: Path) -> None:
    (folder / "strangers.py").write_text(
        "import asyncio\n"
        "from providers.scripted import ScriptedProvider\n"
        "class Stranger(ScriptedProvider):\n"
        "    async def start(self):\n"
        "        await asyncio.Event().wait()\n"
    )
    (folder / "rosey-llm.toml").write_text(
        SCRIPTED.replace('"scripted"', '"odd"')
        + '[providers.odd]\nkind = "strangers:Stranger"\ntotal_timeout = 0.2\n'
    )
    done = rosey(folder, "check")
    assert (done.returncode, done.stderr) == (1, "")
    assert "did not start within 0.2 s" in done.stdout
