"""Request, persona, rule, provider: for each choice, the first of them that has it counts."""

from __future__ import annotations

import itertools
from typing import Any

from engine.interfaces.reports.channel_settings import describe
from tests.fakes.llm_server import LLMServer
from tests.support.service_harness import House

# A value of each key by who has it; the provider has the temperature and the limit in its table.
VALUES: dict[str, dict[str, Any]] = {
    "model": {"request": "m-request", "persona": "m-persona", "rule": "m-rule"},
    "temperature": {"request": 0.0, "persona": 0.1, "rule": 0.2, "provider": 0.3},
    "max_tokens": {"request": 11, "persona": 12, "rule": 13, "provider": 14},
}
PROVIDERS = {"model": "test-model"}
SUBSETS = [keys for size in range(len(VALUES) + 1) for keys in itertools.combinations(VALUES, size)]


def values(source: str, keys: tuple[str, ...]) -> dict[str, Any]:
    return {key: VALUES[key][source] for key in keys}


async def test_the_first_source_that_has_a_key_counts_and_is_shown(
    house: House, llm: LLMServer
) -> None:
    house.config["providers"]["openai"] |= values("provider", ("temperature", "max_tokens"))
    house.config["personas"] = {
        f"p{number}": {"prompt": "Be.", **values("persona", keys)}
        for number, keys in enumerate(SUBSETS)
    }
    house.config["channels"] = {
        "rules": [
            {"match": f"p{persona}-r{rule}-?", "persona": f"p{persona}", **values("rule", keys)}
            for persona in range(len(SUBSETS))
            for rule, keys in enumerate(SUBSETS)
        ]
    }
    await house.open()
    cases = list(itertools.product(range(len(SUBSETS)), repeat=3))
    for persona, rule, request in cases:
        channel, own = f"p{persona}-r{rule}-{request}", values("request", SUBSETS[request])
        await house.bot.request(channel_id=channel, message=channel, **own)
    await house.bot.outcomes(len(cases))
    settings = house.settings
    sent = {request.body["messages"][-1]["content"]: request.body for request in llm.requests}
    for persona, rule, request in cases:
        channel = f"p{persona}-r{rule}-{request}"
        shown = describe(settings, channel, None, None).settings
        has = {"request": SUBSETS[request], "persona": SUBSETS[persona], "rule": SUBSETS[rule]}
        for key, known in VALUES.items():
            sources = [source for source, keys in has.items() if key in keys] + ["provider"]
            expected = known.get(sources[0], PROVIDERS.get(key))
            assert sent[channel][key] == expected, (channel, key)
            if sources[0] != "request":
                assert shown[key] == (expected, sources[0]), (channel, key)
