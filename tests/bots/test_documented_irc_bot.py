"""The bot of docs/bots/irc.md, as somebody who copied it runs it."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fakes.llm_server import Behaviour
from tests.support.irc_servers import IrcServer, Person
from tests.support.patience import WAIT_S
from tests.support.service_harness import House

pytestmark = pytest.mark.process

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "bots" / "irc.md").read_text()
LONG = " ".join(f"word{number:04}" for number in range(139))


async def test_the_bot_to_copy_answers_in_its_channels(house: House, tmp_path: Path) -> None:
    await house.open()
    found = re.search(r"<!-- tested: irc bot -->\n```python\n(.*?)```", PAGE, re.DOTALL)
    assert found
    (tmp_path / "irc_bot.py").write_text(found[1])
    (tmp_path / "irc").mkdir()
    async with IrcServer(tmp_path / "irc") as server:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "irc_bot.py", "127.0.0.1", str(server.port), "rosey", "#a", "#b"),
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        try:
            assert process.stdout is not None
            async with asyncio.timeout(WAIT_S):
                assert await process.stdout.readline() == b"rosey is in #a\n"
                assert await process.stdout.readline() == b"rosey is in #b\n"
            async with (
                Person.talking(server, "alice", "#a") as alice,
                Person.talking(server, "bob", "#b") as bob,
            ):
                house.llm.plan(Behaviour(text=LONG))
                alice.say("!chat long")
                await alice.until(lambda: " ".join(alice.told()) == f"alice: {LONG}")
                never = asyncio.Event()
                house.llm.plan(Behaviour(hold=never))
                bob.say("!chat slow")
                await house.llm.wait_for_requests(2)
                bob.say("!chat never asked")
                bob.say("!chat stop")
                await bob.until_told("bob: Stopped.")
                bob.say("!chat hello")
                await bob.until_told("bob: You said: hello")
        finally:
            process.kill()
            _, errors = await process.communicate()
    assert errors == b""
