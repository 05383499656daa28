"""Tests of the limits of requests: those of all doors, and those of one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.admission.gate import Gate
from engine.commands.observer import TurnObserver
from engine.commands.records import Chat
from engine.commands.request import Door, Request
from engine.config import changes
from engine.config.loading import parse
from engine.errors import LimitReached
from engine.monitoring.counts import Counts
from providers.validation import ValidationError


class Limited:
    """A gate with a clock, and what it says of the requests of alice."""

    def __init__(self, limits: dict[str, Any]) -> None:
        self.now_s = 1000.0
        self.gate = Gate(parse({"limits": limits}, Path.cwd()), TurnObserver(), lambda: self.now_s)

    def ask(self, door: Door, times: int = 1) -> list[str]:
        """Return the limit that refuses each request; "" for one that passes."""
        said = []
        for _ in range(times):
            request = Request("#a", "r", "alice", Chat("Hi"), door=door)
            try:
                self.gate.check(request)
            except LimitReached as exc:
                said.append(exc.limit)
            else:
                self.gate.take(request)
                said.append("")
        return said


def test_the_service_api_has_limits_of_its_own_beside_those_of_all() -> None:
    limited = Limited({"user_per_minute": 12})
    assert limited.ask("service", 11) == [""] * 10 + ["service.user_per_minute"]
    assert limited.ask("", 3) == ["", "", "user_per_minute"]
    limited.now_s += 60.001
    assert limited.ask("", 12) == [""] * 12
    assert limited.ask("service") == ["user_per_minute"]


def test_without_other_settings_only_the_service_api_is_limited() -> None:
    limited = Limited({"service": {"user_per_minute": 0}})
    assert limited.ask("", 600) == [""] * 600
    assert limited.ask("service", 101) == [""] * 100 + ["service.user_per_hour"]


def test_a_limit_of_the_service_api_can_be_changed_and_taken_away() -> None:
    limited = Limited({"service": {"channel_per_minute": 3}})
    assert limited.ask("service", 4) == ["", "", "", "service.channel_per_minute"]
    settings = parse({"limits": {"service": {"user_per_minute": 4}}}, Path.cwd())
    limited.gate.apply(settings)
    assert limited.ask("service", 5) == [""] * 4 + ["service.user_per_minute"]
    none = dict.fromkeys(("user_per_minute", "user_per_hour", "user_per_day"), 0)
    limited.gate.apply(parse({"limits": {"service": none}}, Path.cwd()))
    assert limited.ask("service", 600) == [""] * 600


def test_each_limit_is_counted_under_its_name() -> None:
    counts = Counts()
    counts.limited("service.user_per_day", "user")
    counts.limited("channel_per_minute", "channel")
    assert sum(counts.limits.values()) == 2
    assert len(counts.limits) == 8


def test_a_reload_takes_up_the_limits_of_the_service_api() -> None:
    before, after = (
        parse({"limits": {"service": {"user_per_day": number}}}, Path.cwd()) for number in (1, 2)
    )
    assert changes.diff(before, after, (), ()).settings == {"limits.service.user_per_day": 2}
    assert changes.applied(before, after).limits.service.user_per_day == 2


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ({"user_per_minute": -1}, "limits.service.user_per_minute: expected 0 or more, got -1"),
        ({"user_per_minut": 1}, 'unknown key; did you mean "user_per_minute"?'),
        ({"timezone": "UTC"}, "limits.service.timezone: unknown key"),
    ],
)
def test_what_is_wrong_in_the_limits_of_the_service_api_is_said(
    table: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        parse({"limits": {"service": table}}, Path.cwd())
    assert problem in str(caught.value)
