"""The moderators of an engine over its reloads."""

from __future__ import annotations

import pytest

from engine.config.safety_settings import SafetySettings
from engine.safety.moderators import Moderators
from providers.base import LLMProvider
from providers.errors import ProviderError
from tests.fakes.llm_server import LLMServer
from tests.providers.test_moderation import provider


async def test_a_reload_keeps_a_moderator_that_is_not_changed_and_closes_the_others(
    llm: LLMServer,
) -> None:
    keys = {"judge": "sk-1"}
    made: list[LLMProvider] = []

    def new(name: str) -> LLMProvider:
        made.append(provider(llm, name, api_key=keys["judge"]))
        return made[-1]

    same = SafetySettings(moderation="judge")
    off = SafetySettings()
    moderators = Moderators()
    moderators.apply([same, off, same], new)
    first = moderators.of(same)
    assert first is not None
    assert len(made) == 1
    assert moderators.of(off) is None
    await first.judge("x")
    moderators.apply([same], new)
    assert moderators.of(same) is first
    first.hold()
    keys["judge"] = "sk-2"
    moderators.apply([same], new)
    second = moderators.of(same)
    assert second is not None
    assert second is not first
    await first.judge("a turn that began before the reload")
    first.release()
    await llm.wait_until_left()
    with pytest.raises(ProviderError, match="was closed"):
        await first.judge("x")
    await second.judge("x")
    await moderators.aclose()
    assert [each.headers["authorization"] for each in llm.requests] == [
        *["Bearer sk-1"] * 2,
        "Bearer sk-2",
    ]
