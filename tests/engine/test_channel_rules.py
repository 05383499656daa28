"""Which rule a channel has: patterns, the order, and what is remembered."""

from __future__ import annotations

import tracemalloc
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.config.channel_rules import (
    MOST_KNOWN,
    NO_RULE,
    ChannelRule,
    ChannelRules,
    is_never_used,
)

PATTERNS = st.text("ab/*?.", min_size=1, max_size=8)
CHANNELS = st.text("ab/*?.\n", min_size=1, max_size=12)


def rule_of(channel_id: str, *patterns: str) -> str:
    return ChannelRules(ChannelRule(match=each) for each in patterns).of(channel_id).match


@pytest.mark.parametrize(
    ("pattern", "channel", "matches"),
    [
        ("irc/*", "irc/#lobby", True),
        ("irc/*", "irc/libera/#lobby", True),
        ("irc/*", "irc/", True),
        ("irc/*", "Irc/#lobby", False),
        ("irc/*", "xirc/#lobby", False),
        ("*", "two\nlines", True),
        ("#?", "#a", True),
        ("#?", "#ab", False),
        ("*/support", "discord/1/support", True),
        ("*a*b*", "xaxxbx", True),
        ("[ab]", "a", False),
        ("[ab]", "[ab]", True),
        ("a.c", "abc", False),
        ("ab*ba", "aba", False),
        ("**", "x", True),
    ],
)
def test_a_pattern_matches_a_whole_channel_id(pattern: str, channel: str, matches: bool) -> None:
    assert (rule_of(channel, pattern) == pattern) is matches


def matches_simply(pattern: str, channel: str) -> bool:
    """The definition of a pattern, as slow as it is plain."""

    @cache
    def at(i: int, j: int) -> bool:
        if i == len(pattern):
            return j == len(channel)
        if pattern[i] == "*":
            return at(i + 1, j) or (j < len(channel) and at(i, j + 1))
        return j < len(channel) and pattern[i] in ("?", channel[j]) and at(i + 1, j + 1)

    return at(0, 0)


@given(st.lists(PATTERNS, max_size=5), CHANNELS)
def test_the_first_pattern_that_matches_wins(patterns: list[str], channel: str) -> None:
    rules = ChannelRules(ChannelRule(match=each) for each in patterns)
    expected = next((each for each in patterns if matches_simply(each, channel)), "")
    assert rules.of(channel).match == expected
    assert rules.of(channel).match == expected  # what is remembered is the same


@given(PATTERNS, PATTERNS, CHANNELS)
def test_a_rule_that_is_called_unused_is_never_used(one: str, later: str, channel: str) -> None:
    if is_never_used(later, one) and matches_simply(later, channel):
        assert matches_simply(one, channel)


def test_without_a_rule_that_matches_a_channel_has_no_rule() -> None:
    assert ChannelRules([]).of("#lobby") is NO_RULE
    assert ChannelRules([ChannelRule(match="irc/*")]).of("#lobby") is NO_RULE


def test_a_pattern_with_many_stars_takes_no_longer_with_a_long_channel_id() -> None:
    assert rule_of("a" * 100_000, "*a" * 30 + "b") == ""


def test_channels_beyond_those_that_are_remembered_have_their_rule_too() -> None:
    rules = ChannelRules([ChannelRule(match="irc/*")])
    for number in range(MOST_KNOWN + 2):
        assert rules.of(f"irc/{number}").match == "irc/*"
    assert rules.of("discord/1") is NO_RULE


def test_many_long_ids_take_no_memory() -> None:
    rules = ChannelRules([ChannelRule(match="irc/*")])
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for number in range(1000):
            assert rules.of(f"irc/{number}{'x' * 10_000}").match == "irc/*"
        now, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert now - before < 1_000_000
