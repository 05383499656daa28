"""What the tests of a reload change and wait for."""

from __future__ import annotations

from typing import Any

from tests.fakes.llm_server import LLMServer
from tests.support.service_harness import House, ReceivedMessage


def provider(house: House, **table: Any) -> None:
    house.config["providers"]["openai"] |= table


def point_to(house: House, llm: LLMServer) -> None:
    provider(house, base_url=f"{llm.url}/v1")


async def outcome(house: House, request_id: str) -> ReceivedMessage:
    def heard() -> list[ReceivedMessage]:
        return [each for each in house.bot.received_outcomes() if each["request_id"] == request_id]

    await house.bot.until(lambda: bool(heard()))
    return heard()[0]


def engine(house: House) -> Any:
    assert house.app is not None
    return house.app.inspect().engine
