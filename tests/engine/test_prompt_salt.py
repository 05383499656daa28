"""The salt of a prompt's digest: erased with the text, so that no guess of it can be confirmed."""

from __future__ import annotations

import hashlib
import hmac
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson
import pytest

from engine import LLMService
from providers import ScriptedProvider
from tests.support.command_line import rosey
from tests.support.history_command import lines

pytestmark = pytest.mark.process
SECRET = "quagga4711"  # no digest and no time has it by chance
PIN = f"My PIN is {SECRET}"


async def tell(path: Path) -> bytes:
    """Let mallory tell her PIN, and bob something else; return the prompt with the PIN."""
    provider = ScriptedProvider()
    async with LLMService(provider, database=path) as service:
        await service.chat(PIN, username="mallory", request_id="pin")
        await service.chat("Hi", "other", username="bob", request_id="hi")
    return orjson.dumps(list(provider.calls[0].messages))


def row_of(path: Path, request_id: str) -> dict[str, Any]:
    """Return details and personal facts of an answer."""
    with closing(sqlite3.connect(path)) as connection:
        details, personal = connection.execute(
            "SELECT details, personal FROM history WHERE kind = 'answer' AND request_id = ?",
            (request_id,),
        ).fetchone()
    return {"details": orjson.loads(details), "personal": personal and orjson.loads(personal)}


async def test_after_an_erasure_a_guess_of_the_text_is_not_confirmed(tmp_path: Path) -> None:
    path = tmp_path / "chat.db"
    prompt = await tell(path)
    kept = row_of(path, "pin")
    digest, salt = kept["details"]["prompt_digest"], kept["personal"]["prompt_salt"]
    # With the salt a guess is confirmed, without it is not.
    assert hmac.new(bytes.fromhex(salt), prompt, "sha256").hexdigest() == digest
    assert hashlib.sha256(prompt).hexdigest() != digest
    assert salt != row_of(path, "hi")["personal"]["prompt_salt"]

    where = ("--database", str(path))
    (proof,) = lines(tmp_path, *where, "prompt", "pin")
    assert proof["exact"] is True
    erased = rosey(tmp_path, "history", *where, "erase", "--user", "mallory", "--yes")
    assert erased.returncode == 0, erased.stderr
    assert row_of(path, "pin") == {"details": kept["details"], "personal": None}
    for file in tmp_path.iterdir():
        for canary in (salt, bytes.fromhex(salt), SECRET):
            data = canary.encode() if isinstance(canary, str) else canary
            assert data not in file.read_bytes(), file

    (proof,) = lines(tmp_path, *where, "prompt", "pin")
    assert proof["exact"] is None
    assert "with it the salt of the digest" in proof["doubts"][-1]
    (proof,) = lines(tmp_path, *where, "prompt", "hi")
    assert proof["exact"] is True
    assert rosey(tmp_path, "history", *where, "verify").returncode == 0


async def test_a_changed_salt_is_found(tmp_path: Path) -> None:
    path = tmp_path / "chat.db"
    await tell(path)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "UPDATE history SET personal = json_set(personal, '$.prompt_salt', ?)"
            " WHERE kind = 'answer' AND request_id = 'pin'",
            ("0" * 32,),
        )
    where = ("--database", str(path))
    (proof,) = lines(tmp_path, *where, "prompt", "pin")
    assert proof["exact"] is False
    assert "Rows of this channel may have been changed" in proof["doubts"][-1]
    assert rosey(tmp_path, "history", *where, "verify").returncode == 1
