"""A day of an operator, as typed: deploy, alert, look, reload, restore, upgrade, go back."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import tomlkit
import yaml

from tests.fakes.llm_server import Behaviour, LLMServer
from tests.support.command_line import rosey
from tests.support.patience import WAIT_S
from tests.support.scraper import get, scraped
from tests.support.service_process import Service, configuration, running

pytestmark = pytest.mark.process
DOCS = Path(__file__).parents[1] / "docs"
OLD = Path(__file__).parent / "data" / "database_23a6b4f.sql"
NEW_KEY = "sk-new-key"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def configured(llm: LLMServer) -> dict[str, Any]:
    config = configuration(llm, http={"port": 0})
    config["providers"]["openai"]["default_model"] = "gpt-4"
    return config


async def typed(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Type a command, while the event loop of the test serves the model."""
    return await asyncio.to_thread(rosey, folder, *arguments)


def database(folder: Path) -> Path:
    return folder / "data" / "rosey-llm.db"


def url_of(folder: Path) -> str:
    return Path(f"{database(folder)}.http").read_text().strip()


def set_aside(folder: Path) -> Path:
    """Move away all files whose names begin with the database's name, as operating.md says."""
    aside = folder / "aside"
    aside.mkdir(exist_ok=True)
    for file in database(folder).parent.glob("rosey-llm.db*"):
        file.rename(aside / file.name)
    return aside


async def deploy(folder: Path, config: dict[str, Any]) -> None:
    assert (await typed(folder, "init", "--defaults")).returncode == 0
    (folder / "rosey-llm.toml").write_text(tomlkit.dumps(config))
    checked = await typed(folder, "check")
    assert (checked.returncode, checked.stderr) == (0, "")
    assert "The service can answer." in checked.stdout


async def alert(folder: Path, llm: LLMServer, service: Service) -> None:
    """The key expires: `RoseyProviderMisconfigured` fires, and says what to type."""
    assert "content" in await service.bot.ask("Hello")
    llm.plan(Behaviour(status=401))
    assert (await service.bot.ask("Are you there?"))["code"] == "provider_auth"
    (group,) = yaml.safe_load((DOCS / "prometheus" / "alerts.yml").read_text())["groups"]
    (rule,) = [each for each in group["rules"] if each["alert"] == "RoseyProviderMisconfigured"]
    name, _, value = rule["expr"].removeprefix("rosey_llm_").split()
    await scraped(url_of(folder), lambda seen: float(value) in seen.values(name, provider="openai"))
    assert "`rosey-llm check`" in rule["annotations"]["description"]
    assert (await get(f"{url_of(folder)}/readyz"))[0] == 503


async def look(folder: Path, service: Service) -> None:
    assert "Provider openai" in (await typed(folder, "top", "--once")).stdout
    shown = (await typed(folder, "history", "show", "#lobby")).stdout
    assert "! provider_auth to " in shown
    stats = (await typed(folder, "history", "stats", "--since", "1h")).stdout.split()
    assert stats[stats.index("provider_auth") + 1] == "1"
    assert "turn.failed" in service.log


async def reload(folder: Path, config: dict[str, Any], service: Service) -> None:
    config["providers"]["openai"]["api_key"] = NEW_KEY
    (folder / "rosey-llm.toml").write_text(tomlkit.dumps(config))
    done = await typed(folder, "reload")
    assert (done.returncode, NEW_KEY in done.stdout + done.stderr) == (0, False)
    assert "content" in await service.bot.ask("And now?")
    async with asyncio.timeout(WAIT_S):
        while (await get(f"{url_of(folder)}/readyz"))[0] != 200:  # noqa: ASYNC110 - it is cached
            await asyncio.sleep(0.05)


async def seal_of(folder: Path, *arguments: str) -> str:
    proved = await typed(folder, "history", "verify", *arguments)
    assert proved.returncode == 0, proved.stderr
    return proved.stdout.split("Seal: ")[1].strip()


async def test_a_service_is_deployed_watched_mended_and_restored(folder: Path) -> None:
    async with LLMServer() as llm:
        config = configured(llm)
        await deploy(folder, config)
        async with running(folder, config) as service:
            await alert(folder, llm, service)
            await look(folder, service)
            await reload(folder, config, service)
            assert (await typed(folder, "backup", "backup.db")).returncode == 0
            await service.bot.ask("This is lost with the disk.")
        seal = await seal_of(folder, "--database", "backup.db")
        set_aside(folder)
        (folder / "backup.db").rename(database(folder))
        async with running(folder, config) as service:
            assert "content" in await service.bot.ask("Back again?")
            await seal_of(folder, "--seal", seal)
            shown = (await typed(folder, "history", "show", "#lobby")).stdout
    assert "And now?" in shown
    assert "Back again?" in shown
    assert "lost with the disk" not in shown


async def test_an_old_database_is_upgraded_and_can_go_back(folder: Path) -> None:
    database(folder).parent.mkdir()
    with closing(sqlite3.connect(database(folder))) as connection:
        connection.executescript(OLD.read_text())
    async with LLMServer() as llm:
        config = configured(llm)
        (folder / "rosey-llm.toml").write_text(tomlkit.dumps(config))
        assert (await typed(folder, "check")).returncode == 0
        async with running(folder, config) as service:
            assert "is changed for this version (m003_replies_and_erasures" in service.log
            assert "content" in await service.bot.ask("Do you remember the roses?", "#new")
            await seal_of(folder)
    copy = Path(f"{database(folder)}.before-m003")
    # As it was, for the version from before: its own schema, and nothing of today.
    aside = set_aside(folder)
    (aside / copy.name).rename(database(folder))
    with closing(sqlite3.connect(database(folder))) as connection:
        steps = connection.execute("SELECT name FROM _sqlite_migrations").fetchall()
        assert [name for (name,) in steps] == ["m001_first_schema", "m002_chain_of_digests"]
        names = [name for (name,) in connection.execute("SELECT name FROM channel")]
    assert "#new" not in names
    assert "#lobby" in names


async def test_an_older_version_refuses_the_file_of_a_newer_one(folder: Path) -> None:
    (folder / "rosey-llm.toml").write_text('default_provider = "scripted"\nfallback_providers = []')
    database(folder).parent.mkdir()
    with closing(sqlite3.connect(database(folder))) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.executescript(OLD.read_text())
        connection.execute(
            "INSERT INTO _sqlite_migrations (migration_set, name, applied_at)"
            " VALUES ('rosey-llm', 'm999_of_a_newer_version', '')"
        )
        connection.commit()
    before = database(folder).read_bytes()
    done = await typed(folder, "run")
    assert done.returncode == 3
    assert "was written by a newer rosey-llm (it has m999_of_a_newer_version)" in done.stderr
    assert database(folder).read_bytes() == before
