"""Patterns that find what they should, and none that stops the event loop."""

from __future__ import annotations

import asyncio
import logging

import pytest

from engine.safety.deny_list import DenyList, Found

# Each `a` can be read in two ways, so that this takes for ever if the `b` is not the end.
ENDLESS, ITS_TEXT = "(?:a|a)*b$", "a" * 60 + "bc"


async def test_the_first_pattern_that_matches_is_found() -> None:
    denied = DenyList([r"(?i)\bspam\b", r"^/\w+", r"(?<!not )evil"])
    assert await denied.search("buy SPAM now") == Found(0)
    assert await denied.search("/spam it") == Found(0)
    assert await denied.search("/me waves") == Found(1)
    assert await denied.search("so evil") == Found(2)
    assert await denied.search("not evil") == Found(None)
    assert await denied.search("spammer") == Found(None)


async def test_a_pattern_that_takes_for_ever_is_given_up_and_the_others_still_count(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING, "rosey_llm")
    denied = DenyList([ENDLESS, "spam"])
    assert await denied.search("spam") == Found(1)
    assert await denied.search(ITS_TEXT) == Found(None, (0,))
    assert await denied.search(f"{ITS_TEXT} spam") == Found(1)
    assert await denied.search(ITS_TEXT) == Found(None, (0,))
    assert caplog.text.count("safety.deny[0]") == 1  # said once
    assert "aaaa" not in caplog.text


async def test_the_event_loop_goes_on_meanwhile() -> None:
    searching = asyncio.create_task(DenyList([ENDLESS] * 3).search(ITS_TEXT))
    turns = 0
    while not searching.done():
        await asyncio.sleep(0)
        turns += 1
    assert searching.result() == Found(None, (0, 1, 2))
    assert turns > 10


async def test_a_search_can_be_cut_off() -> None:
    searching = asyncio.create_task(DenyList([ENDLESS] * 3).search(ITS_TEXT))
    await asyncio.sleep(0)
    searching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await searching
