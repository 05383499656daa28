"""Which channels `rosey-llm top` shows, by the keys that were pressed."""

from __future__ import annotations

import pytest

from engine.interfaces.top.channel_list import SORTS, Channel, ChannelList


def channel(name: str, waiting: int = 0, turns: int = 0) -> Channel:
    return {
        "channel": name,
        "doing": None,
        "waiting": waiting,
        "oldest_s": None,
        "turns": turns,
        "idle_s": 1.0,
    }


TEN = [channel(f"#{number}", waiting=10 - number, turns=number) for number in range(10)]


def names(channels: ChannelList, rows: int | None) -> list[str]:
    return [each["channel"] for each in channels.chosen(TEN, rows)[0]]


def press(channels: ChannelList, *keys: str) -> bool:
    quits = [channels.press(key) for key in keys]
    return any(quits)


def test_what_does_not_fit_is_counted_and_its_line_is_left_free() -> None:
    channels = ChannelList()
    shown, others = channels.chosen(TEN, 4)
    assert ([each["channel"] for each in shown], others) == (["#0", "#1", "#2"], 7)
    assert channels.chosen(TEN, 10) == (TEN, 0)
    assert channels.chosen(TEN, None) == (TEN, 0)
    assert channels.chosen(TEN, 0) == ([], 10)


@pytest.mark.parametrize(
    ("keys", "first"),
    [
        (["\x1b[B"], "#1"),
        (["j", "j", "k"], "#1"),
        (["\x1b[A"], "#0"),
        (["\x1b[6~"], "#3"),
        ([" ", " ", "b"], "#3"),
        (["G"], "#7"),
        (["\x1b[F", "\x1b[B"], "#7"),
        (["\x1bOF", "\x1bOH"], "#0"),
        (["G", "\x1b[A"], "#6"),
    ],
)
def test_keys_scroll_and_stop_at_the_ends(keys: list[str], first: str) -> None:
    channels = ChannelList()
    names(channels, 4)
    assert not press(channels, *keys)
    assert names(channels, 4)[0] == first


def test_a_list_that_got_shorter_is_not_scrolled_past_its_end() -> None:
    channels = ChannelList()
    names(channels, 4)
    press(channels, "G")
    assert names(channels, 4) == ["#7", "#8", "#9"]
    assert [each["channel"] for each in channels.chosen(TEN[:2], 4)[0]] == ["#0", "#1"]


def test_s_goes_through_the_orders() -> None:
    channels = ChannelList()
    seen = []
    for _ in SORTS:
        seen.append((channels.sort, names(channels, None)[0]))
        press(channels, "s")
    assert seen == [
        ("waiting", "#0"),
        ("oldest", "#0"),
        ("turns", "#9"),
        ("idle", "#0"),
        ("name", "#0"),
    ]
    assert channels.sort == "waiting"


def test_a_part_of_the_name_is_typed_and_q_is_a_letter_of_it() -> None:
    some = [channel("#Quiet"), channel("#loud")]
    channels = ChannelList()
    assert not press(channels, "/", "q", "x", "\x7f", "u")
    assert channels.is_typing
    assert [each["channel"] for each in channels.chosen(some, 5)[0]] == ["#Quiet"]
    assert not press(channels, "\r")
    assert channels.part == "qu"
    press(channels, "\x1b")
    assert channels.chosen(some, 5) == (some, 0)
    assert press(channels, "q")


def test_a_closed_terminal_ends_it() -> None:
    assert press(ChannelList(), "")
