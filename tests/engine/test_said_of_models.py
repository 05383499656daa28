"""Each sentence of the table is really said: those about models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine import LLMError, LLMService
from providers import ScriptedProvider
from tests.support.said import key_of, settings

ADMIN = {"admins": ["User"]}
PROVIDERS = {"providers": {"second": {"kind": "scripted"}}}
# What is asked (nothing: to be shown), with which models allowed.
CASES: dict[str, tuple[str, list[str]]] = {
    "models_listed": ("", ["scripted/*"]),
    "model_alone": ("", []),
    "model_switched": ("scripted/big", ["scripted/*"]),
    "model_configured": ("default", []),
    "model_fixed": ("scripted/big", []),
    "model_not_listed": ("scripted/big", ["scripted/small"]),
    "model_ambiguous": ("big", ["scripted/*", "second/big"]),
    "model_pattern": ("scripted/*", ["scripted/*"]),
}
OTHERS = ("model_not_allowed", "model_fallen_back")


async def said(folder: Path, name: str = "", **more: Any) -> str:
    """Return what is said to somebody who wants to choose a model, or to see it."""
    providers = [ScriptedProvider(), ScriptedProvider(name="second")]
    database, made = folder / "chat.db", settings(folder, **PROVIDERS, **more)
    async with LLMService(providers, settings=made, database=database) as bot:
        try:
            return (await (bot.set_model(name) if name else bot.show_model())).content
        except LLMError as exc:
            return str(exc)


@pytest.mark.parametrize("key", CASES)
async def test_the_sentence_is_said_in_the_words_of_the_configuration(
    tmp_path: Path, key: str
) -> None:
    name, allow = CASES[key]
    found = await said(tmp_path, name, models={"allow": allow}, permissions=ADMIN)
    assert key_of(found) == key


async def test_who_may_not_and_what_may_not_any_more_is_said(tmp_path: Path) -> None:
    refused = await said(tmp_path, "big", models={"allow": ["scripted/*"]})
    assert key_of(refused) == "model_not_allowed"
    await said(tmp_path, "big", models={"allow": ["scripted/*"]}, permissions=ADMIN)
    assert "<[model_fallen_back] <scripted/scripted> <scripted/big>>" in await said(tmp_path)
