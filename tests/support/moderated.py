"""An `LLMService` whose messages and answers are checked, and what it keeps of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson

from engine import LLMService
from engine.config.loading import parse
from tests.fakes.llm_server import LLMServer
from tests.support.service_calls import rows_of


def tables(llm: LLMServer, judge: LLMServer | None = None, **safety: Any) -> dict[str, Any]:
    """Return a configuration in which `llm` answers, and `judge`, if there is one, judges."""
    found: dict[str, Any] = {
        "default_provider": "openai",
        "fallback_providers": [],
        "safety": safety,
        "providers": {
            "openai": {
                "base_url": f"{llm.url}/v1",
                "api_key": "sk-model",
                "max_retries": 0,
                "default_model": "test-model",
            }
        },
    }
    if judge is not None:
        found["providers"]["judge"] = {"kind": "openai", "base_url": f"{judge.url}/v1"}
        found["safety"] = {"moderation": "judge", **safety}
    return found


def moderated(
    folder: Path, llm: LLMServer, judge: LLMServer | None = None, **safety: Any
) -> LLMService:
    return configured(folder, tables(llm, judge, **safety))


def configured(folder: Path, config: dict[str, Any]) -> LLMService:
    return LLMService(config=parse(config, folder), database=folder / "chat.db")


def kept(folder: Path) -> list[tuple[object, ...]]:
    """Return kind, code and content of each row."""
    return rows_of(folder / "chat.db", "SELECT kind, code, content FROM history ORDER BY id")


def details(folder: Path) -> dict[str, Any]:
    """Return the details of the newest row."""
    sql = "SELECT details FROM history ORDER BY id DESC LIMIT 1"
    ((found,),) = rows_of(folder / "chat.db", sql)
    assert isinstance(found, str | bytes)
    decoded: dict[str, Any] = orjson.loads(found)
    return decoded


def charged(folder: Path) -> list[tuple[object, ...]]:
    """Return what all turns together are charged: requests, tokens of prompts and of answers."""
    return rows_of(
        folder / "chat.db",
        "SELECT requests, prompt_tokens, completion_tokens FROM usage WHERE scope = '*'",
    )


def holding(folder: Path, text: str) -> list[str]:
    """Return the names of the files that contain a text."""
    return [file.name for file in folder.iterdir() if text.encode() in file.read_bytes()]
