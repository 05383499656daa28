"""The persona that the audit page shows for a channel."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from engine import LLMError, LLMService
from engine.config.loading import parse
from providers import ScriptedProvider
from tests.support import audit_database

pytestmark = pytest.mark.process


async def test_a_channel_that_never_switched_shows_the_persona_that_answered(
    tmp_path: Path,
) -> None:
    settings = parse({"service": {"default_persona": "concise"}}, tmp_path)
    database = tmp_path / "data" / "rosey-llm.db"
    async with LLMService(ScriptedProvider(), settings=settings, database=database) as service:
        await service.chat("Hello", "#stayed")
        await service.chat("Hello", "#switched")
        await service.set_persona("technical", "#switched")
        with pytest.raises(LLMError):
            await service.set_persona("nobody", "#silent")
    (tmp_path / "rosey-llm.toml").write_text("")
    with audit_database.audit(tmp_path) as page:
        page.enter()
        overview = page.get("/").text
        pages = [page.get(f"/channel/{number}").text for number in (1, 2, 3)]
    shown = dict(
        re.findall(
            r"<bdi>(#\w+)</bdi></a></td>.*?<td class=\"wide-only\"><bdi>(.*?)</bdi>",
            overview,
            re.DOTALL,
        )
    )
    assert shown == {"#stayed": "concise", "#switched": "technical", "#silent": ""}
    assert [re.findall(r"persona <bdi>(\w+)</bdi>", each) for each in pages] == [
        ["concise"],
        ["technical"],
        [],
    ]
