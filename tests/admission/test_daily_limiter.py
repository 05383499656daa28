"""Tests of the limit by day: it ends with the day, and goes on after a restart."""

from __future__ import annotations

from datetime import datetime

from engine.accounting.days import Days
from engine.admission.daily_limiter import DailyLimiter
from tests.support.clocks import zone_at_noon
from tests.support.service_harness import House


def ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def test_the_count_starts_again_at_midnight_of_the_zone() -> None:
    now_ms = [ms("2026-12-01T22:00:00+00:00")]
    limiter = DailyLimiter(2, Days("Europe/Berlin"), lambda: now_ms[0])
    for _ in range(2):
        assert limiter.wait_s("alice") == 0.0
        limiter.take("alice")
    assert limiter.wait_s("alice") == 3600.0
    assert limiter.wait_s("bob") == 0.0
    limiter.give_back("alice")
    assert limiter.wait_s("alice") == 0.0
    limiter.take("alice")
    now_ms[0] += 3_600_000
    assert limiter.wait_s("alice") == 0.0


def test_at_most_so_many_senders_are_kept() -> None:
    limiter = DailyLimiter(1, Days("UTC"), lambda: 0, most=2)
    for name in ("a", "b", "a", "c"):
        limiter.take(name)
    assert [limiter.wait_s(name) > 0 for name in ("a", "b", "c")] == [True, False, True]


async def ask(house: House, name: str) -> str | None:
    answer = await house.bot.call(
        "rosey.command.chat", {"args": "Hi", "channel_id": "#lobby", "username": name}
    )
    code: str | None = answer.get("code")
    return code


async def test_a_restart_and_a_reload_go_on_with_what_was_asked_today(house: House) -> None:
    limits: dict[str, object] = {"timezone": zone_at_noon()}
    house.config["limits"] = limits
    await house.open()
    for _ in range(2):
        assert await ask(house, "alice") is None
    house.config["limits"] = limits | {"user_per_day": 3}
    await house.reload()
    assert house.app is not None
    for _ in range(5):  # the writer's order is that of the calls: what follows a reload is done
        await house.app.inspect().engine.database.write(lambda _: None)
    assert await ask(house, "Alice") is None
    assert await ask(house, "alice") == "limit_reached"
    await house.restart()
    assert await ask(house, "ALICE") == "limit_reached"
    assert await ask(house, "bob") is None
