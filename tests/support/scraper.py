"""Test helpers that read an engine's HTTP pages, above all its metrics."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import aiohttp
import orjson
from prometheus_client.parser import text_string_to_metric_families

from tests.support.patience import WAIT_S


class Scrape:
    """The samples of one scrape."""

    def __init__(self, text: str) -> None:
        self.families = list(text_string_to_metric_families(text))
        self._samples = [sample for family in self.families for sample in family.samples]

    @property
    def names(self) -> set[str]:
        return {sample.name for sample in self._samples}

    def total(self, name: str, **labels: str) -> float:
        """Return the sum over all labels that are not given; 0 if there is no such sample."""
        return sum(self.values(name, **labels))

    def values(self, name: str, **labels: str) -> list[float]:
        return [
            sample.value
            for sample in self._samples
            if sample.name == f"rosey_llm_{name}" and labels.items() <= sample.labels.items()
        ]

    def check_conservation(self) -> None:
        """Assert that no accepted command is lost, in memory or in the database."""
        accepted = self.total("commands_total", result="accepted")
        ended = sum(
            self.total("turns_total", outcome=outcome)
            for outcome in ("answered", "failed", "cancelled")
        )
        assert accepted == ended + self.total("commands_waiting")
        for rows in self.values("mailbox_rows"):
            assert accepted == ended + rows


async def get(url: str, method: str = "GET", **more: Any) -> tuple[int, Any, dict[str, str]]:
    """Return (status, body, headers); the body is parsed if it is JSON, text otherwise."""
    async with aiohttp.ClientSession() as session, session.request(method, url, **more) as answer:
        body = await answer.read()
        json = answer.content_type == "application/json"
        return answer.status, orjson.loads(body) if json else body.decode(), dict(answer.headers)


async def scrape(url: str) -> Scrape:
    status, text, _ = await get(f"{url}/metrics")
    assert status == 200
    return Scrape(text)


async def scraped(url: str, reached: Callable[[Scrape], bool]) -> Scrape:
    """Return the first scrape for which `reached` is true; check conservation in all of them."""
    async with asyncio.timeout(WAIT_S):
        while True:
            seen = await scrape(url)
            seen.check_conservation()
            if reached(seen):
                return seen
