"""A short run of `make rooms`, and that it finds what is wrong."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from pathlib import Path

import pytest

from tests.rooms import rules
from tests.rooms.models import RecordedModel, question
from tests.rooms.rules import GERMAN, INSIDE, OUTSIDE, SHARE
from tests.rooms.run import run


@pytest.mark.real
@pytest.mark.process
@pytest.mark.timeout(300)
async def test_three_rooms_keep_their_rules_while_rules_and_providers_change(
    tmp_path: Path,
) -> None:
    verdict = await run(tmp_path, rounds=2)
    assert verdict.is_good, "\n".join(verdict.lines())
    figures = verdict.figures
    assert (figures["reloads"], figures["refused reloads"], figures["outages"]) == (2, 1, 2)
    assert 0 < max(figures["turns of the flooder that others waited for"]) <= SHARE
    assert figures["prompts proved"] > 30


@pytest.mark.real
@pytest.mark.process
@pytest.mark.timeout(300)
async def test_a_text_that_got_out_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The German room's rule sends it outside.
    monkeypatch.setitem(rules.MAY_SEE, GERMAN, (INSIDE,))
    verdict = await run(tmp_path, rounds=0)
    assert any(each.startswith("deutschraum came to outside") for each in verdict.faults)
    assert any(each.startswith("outside was asked for") for each in verdict.faults)


async def test_every_byte_is_recorded_whatever_it_is_part_of(tmp_path: Path) -> None:
    async with RecordedModel(OUTSIDE, tmp_path, random.Random(1)) as model:
        assert (model.size_bytes, model.times("locked")) == (0, 0)
        for parts in (b"no HTTP: Lock", b"ed"), (b"POST /locked HTTP/1.1\r\n\r\n",):
            reader, writer = await asyncio.open_connection("127.0.0.1", model.port)
            for part in parts:
                writer.write(part)
                await writer.drain()
            writer.write_eof()
            with suppress(ConnectionError):
                await reader.read()
            writer.close()
        await model.go()
        with pytest.raises(ConnectionError):
            await asyncio.open_connection("127.0.0.1", model.port)
        assert model.times("locked") == 2
        assert model.size_bytes == 40
        await model.come_back()
    assert question("r-1") == "say r-1: tell me more"
