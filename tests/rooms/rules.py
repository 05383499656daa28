"""Three rooms with a rule each, and the configuration of each round, which changes all of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# What belongs to a room has its first word in it: ids, names, questions, answers, hints. So it can
# be looked for in what a provider received.
PLAIN, LOCKED, GERMAN = "plainroom/#lobby", "lockedroom/#support", "deutschraum/#halle"
ROOMS = (PLAIN, LOCKED, GERMAN)
# `inside`, the default, and `cellar` may see the locked room; `outside` may not.
PROVIDERS = ("inside", "cellar", "outside")
INSIDE, CELLAR, OUTSIDE = PROVIDERS
MAY_SEE: dict[str, tuple[str, ...]] = {
    PLAIN: (INSIDE, OUTSIDE),
    LOCKED: (INSIDE, CELLAR),
    GERMAN: (INSIDE, OUTSIDE),
}
SHARE = 3


def word(room: str) -> str:
    """Return the word that everything of a room has in it."""
    return room.partition("/")[0]


def rules(number: int) -> list[dict[str, Any]]:
    """Return the rules of a round. No two rounds in a row have the same one for any room."""

    def rule(room: str, **more: Any) -> dict[str, Any]:
        hint = f"Round {number}. This is {{channel}} of {word(room)}."
        return {"match": f"{word(room)}/*", "hint": hint, **more}

    plain = rule(PLAIN, persona=("concise", "technical", "creative")[number % 3])
    plain |= {"max_reply_chars": 120 + 40 * (number % 5), "parts": number % 4 == 3}
    plain |= {"stream": number % 2 == 0, "mailbox_limit_per_user": SHARE}
    locked = rule(LOCKED, provider=INSIDE, stays=list(MAY_SEE[LOCKED]))
    locked |= {"model": f"model-{number % 4}", "max_context_messages": 3 + number % 4 * 2}
    if has_cellar(number):
        locked["fallback_providers"] = [CELLAR]
    german = rule(GERMAN, texts="de", temperature=number % 10 / 10, status=number % 2 == 0)
    if number % 3 == 0:
        german |= {"provider": OUTSIDE, "fallback_providers": [INSIDE]}
    elif number % 3 == 1:
        german |= {"provider": INSIDE, "fallback_providers": [OUTSIDE], "persona": "technical"}
    found = [plain, locked, german]
    return found[number % 3 :] + found[: number % 3]


def has_cellar(number: int) -> bool:
    """Return whether in this round the cellar answers in the locked room if the inside cannot."""
    return number % 2 == 1


def rule_of(room: str, number: int) -> Mapping[str, Any]:
    return next(each for each in rules(number) if each["match"] == f"{word(room)}/*")


def leaking(number: int) -> list[dict[str, Any]]:
    """Return rules that a reload must refuse: they would send the locked room outside."""
    changes = ({"fallback_providers": [OUTSIDE]}, {"provider": OUTSIDE})
    return [
        {**each, **changes[number // 2 % 2]} if "stays" in each else each for each in rules(number)
    ]


def texts(german: Mapping[str, Any], number: int) -> dict[str, Any]:
    """Return the sentences of a round; one differs from that of the round before."""
    return {**german, "de": {**german["de"], "nothing_to_stop": f"Nichts anzuhalten ({number})."}}


def configuration(
    rules: list[dict[str, Any]], texts: Mapping[str, Any], ports: Mapping[str, int]
) -> dict[str, Any]:
    """Return a whole configuration. ports: of the providers, on this machine."""
    return {
        "default_provider": INSIDE,
        "fallback_providers": [OUTSIDE],
        "nats": {"port": 0},
        "http": {"enabled": False},
        "channels": {"rules": rules},
        "texts": texts,
        "providers": {
            name: {
                "kind": "openai",
                "base_url": f"http://127.0.0.1:{port}/v1",
                "api_key": "sk-rooms",
                "default_model": f"of-{name}",
                "max_retries": 0,
            }
            for name, port in ports.items()
        },
    }
