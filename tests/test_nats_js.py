"""A bot in plain nats.js: what it sends is accepted, and all that it hears is as published."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests import wire_schemas
from tests.fakes.llm_server import Behaviour
from tests.support.patience import WAIT_S
from tests.support.service_harness import House

pytestmark = pytest.mark.real
SOURCE = Path(__file__).parent / "nats_js"


@pytest.fixture(scope="module")
def bot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bot, in a folder of its own with nats.js and a validator of JSON Schemas."""
    folder = tmp_path_factory.mktemp("nats_js") / "bot"
    shutil.copytree(SOURCE, folder)
    options = ("--no-audit", "--no-fund", "--ignore-scripts", "--no-package-lock")
    subprocess.run(
        ["npm", "install", "--silent", *options],  # noqa: S607 - from PATH
        cwd=folder,
        check=True,
        timeout=5 * WAIT_S,
    )
    return folder / "bot.cjs"


async def run(bot: Path, house: House, schemas: Path) -> tuple[int | None, dict[str, Any], str]:
    """Return the bot's exit code, what it found, and its errors."""
    process = await asyncio.create_subprocess_exec(
        *("node", bot, house.folder / "data" / "nats" / "url", schemas),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    async with asyncio.timeout(WAIT_S):
        printed, errors = await process.communicate()
    return process.returncode, json.loads(printed or b"{}"), errors.decode()


async def test_a_bot_in_plain_nats_js_passes_the_schemas_in_both_directions(
    bot: Path, house: House
) -> None:
    house.config["conversation"] = {"stream": True}
    house.config["permissions"] = {"trust_roles": True, "reset": "moderator"}
    await house.open()
    never = asyncio.Event()
    house.llm.plan(
        Behaviour(text="Hello Alice."),
        Behaviour(pieces=["One ", "two ", "three"]),
        Behaviour(pieces=["Begun ", "and never ended"], hold=never, hold_after=1),
        Behaviour(text="Completed."),
        Behaviour(status=401),
    )
    code, found, errors = await run(bot, house, wire_schemas.FOLDER)
    assert (code, errors) == (0, "")
    assert found["whole"]["content"] == "Hello Alice."
    assert found["whole"]["correlation_id"] == "7"
    assert found["joined"] == found["streamed"]["content"] == "One two three"
    assert found["states"] == ["queued", "started", "ended"]
    assert found["stop"]["content"] == "Stopped."
    stopped = found["stopped"]
    assert (stopped["code"], stopped["partial"]) == ("cancelled", "Begun ")
    assert (stopped["username"], stopped["action"]) == ("alice", "chat")
    assert (found["complete"]["action"], found["complete"]["content"]) == (
        "complete",
        "Completed.",
    )
    assert found["failed"]["code"] == "provider_auth"
    assert found["personas"]["action"] == found["switched"]["action"] == "persona"
    assert found["unknown"]["code"] == "unknown_persona"
    assert found["help"]["action"] == "help"
    assert found["reset"]["action"] == "reset"
    assert (found["denied"]["code"], found["denied"]["action"]) == ("not_allowed", "reset")
    assert (found["robot"]["code"], found["robot"]["error"]) == ("not_allowed", "")
    heard = Counter(found["heard"])
    assert (heard["response"], heard["error"], heard["status"]) == (8, 4, 3)
    assert heard["delta"] >= 3


async def test_the_bot_would_tell_of_a_message_that_is_not_as_published(
    bot: Path, house: House, tmp_path: Path
) -> None:
    schemas = shutil.copytree(wire_schemas.FOLDER, tmp_path / "schemas")
    schema = json.loads((schemas / "response.json").read_text())
    del schema["properties"]["latency_ms"]
    (schemas / "response.json").write_text(json.dumps(schema))
    await house.open()
    code, _, errors = await run(bot, house, schemas)
    assert code == 1
    assert "response closed: data must NOT have additional properties" in errors
