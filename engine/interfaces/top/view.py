"""Formats an overview as the frame of `rosey-llm top`: the service, its providers, its channels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.cells import cell_len
from rich.console import Group
from rich.table import Table
from rich.text import Text

from engine.interfaces.reports.output import visible
from engine.interfaces.top.channel_list import ChannelList
from engine.interfaces.top.rates import Rates
from engine.interfaces.top.source import Overview

STATES = {"closed": "green", "half_open": "yellow", "open": "bold red"}
HEADER = "bold reverse"
NARROW = 76  # a narrower screen shows fewer columns
Span = tuple[str, str]  # a text and its style


def frame(
    seen: Overview,
    rates: Rates | None,
    width: int,
    height: int | None,
    channels: ChannelList,
    gone: str | None = None,
) -> Group:
    """Return the frame.

    - `rates`: None if they are still being measured
    - `height`: lines that it may take; None for no limit
    - `gone`: why the overview is old, if it is
    """
    top = [*_flow(_service(seen, gone), width), *_flow(_work(seen, rates), width)]
    top += [*_problems(seen, gone), Text()]
    is_narrow = width < NARROW
    providers = _providers(seen["providers"], is_narrow)
    left = None if height is None else height - len(top) - providers.row_count - 3
    shown, others = channels.chosen(seen["channels"]["shown"], left)
    others += 0 if channels.part else seen["channels"]["active"] - len(seen["channels"]["shown"])
    more = [Text(f"and {others:,} more", "dim")] if others > 0 else []
    return Group(*top, providers, Text(), _channels(shown, is_narrow), *more)


def footer(channels: ChannelList, interval_s: float) -> Text:
    """Return the line of the keys."""
    if channels.is_typing:
        return Text(f"channels with: {visible(channels.part, '')}_", "bold", no_wrap=True)
    part = f" with {visible(channels.part, '')} (Esc: all)" if channels.part else ""
    text = f"by {channels.sort}{part}; every {interval_s:g} s; s sorts, / finds, q quits"
    return Text(text, "dim", no_wrap=True, overflow="ellipsis")


def _flow(parts: list[Span], width: int) -> list[Text]:
    """Return the parts in as few lines as they need; none is cut."""
    lines = [Text()]
    for text, style in parts:
        if lines[-1] and lines[-1].cell_len + 2 + cell_len(text) > width:
            lines.append(Text())
        lines[-1].append("  " if lines[-1] else "").append(text, style)
    return lines


def _service(seen: Overview, gone: str | None) -> list[Span]:
    stage = "gone" if gone else seen["stage"]
    channels = seen["channels"]
    known = "" if channels["known"] is None else f" of {channels['known']:,}"
    parts = [
        (f"{_clean(seen['name'])} {seen['rosey-llm']}", "bold"),
        (stage, {"running": "green", "gone": "bold red"}.get(stage, "yellow")),
        (f"up {duration(seen['uptime_s'])}", ""),
        (f"process {seen['pid']}", ""),
    ]
    if seen["memory_bytes"] is not None:
        parts.append((f"memory {seen['memory_bytes'] / 2**20:.0f} MiB", ""))
    return [*parts, (f"channels {channels['active']:,}{known}", "")]


def _work(seen: Overview, rates: Rates | None) -> list[Span]:
    turns, waiting = seen["turns"], seen["commands"]["waiting"]
    speed = f"{rates.turns:.1f} turns/s  {rates.tokens:.0f} tokens/s" if rates else "measuring ..."
    return [
        (speed, "bold cyan"),
        (f"answered {turns['answered']}", ""),
        (f"failed {turns['failed']}", "red" if turns["failed"] else ""),
        (f"cancelled {turns['cancelled']}", ""),
        (f"waiting {waiting}", "yellow" if waiting else ""),
        *_cost(seen),
    ]


def _cost(seen: Overview) -> Iterator[Span]:
    cost = seen.get("cost_usd")  # a service of an older version has no such key
    if cost:
        yield f"cost ${cost:,.2f}" if cost >= 0.005 else "cost under $0.01", ""


def _problems(seen: Overview, gone: str | None) -> Iterator[Text]:
    store, nats = seen["storage"], seen["nats"]
    if gone is not None:
        yield _problem(f"Trying again. {_clean(gone)}")
    if nats is not None and not nats["connected"]:
        yield _problem("NATS is not connected; the service waits for it.")
    yield from _misconfigured(seen["providers"])
    if store["failing"] is not None:
        yield _problem(f"Cannot write the database: {_clean(store['failing'])}")
    elif not store["answers"]:
        yield _problem("The database does not answer.")
    if store["oldest_unpublished_s"] is not None and store["oldest_unpublished_s"] > 5:
        yield _problem(
            f"Outcomes not published yet: {store['unpublished']}; the oldest waits for "
            f"{duration(store['oldest_unpublished_s'])}."
        )


def _misconfigured(providers: list[Mapping[str, Any]]) -> Iterator[Text]:
    for each in providers:
        if found := each.get("misconfigured"):  # a service of an older version has no such key
            what = f"Provider {each['provider']} {found['problem']}. {found['remedy']}."
            yield _problem(_clean(what))


def _problem(text: str) -> Text:
    return Text(text, "bold red", no_wrap=True, overflow="ellipsis")


def _providers(providers: list[Mapping[str, Any]], is_narrow: bool) -> Table:
    columns = ["PROVIDER", "circuit", ">running", ">waiting", ">ok", ">failed", ">retries"]
    table = _table(*columns[:-1] if is_narrow else columns)
    for each in providers:
        calls = each["calls"]
        failed = sum(number for result, number in calls.items() if result not in ("ok", "cut"))
        rests = f" {duration(each['rests_s'])}" if each["circuit"] == "open" else ""
        table.add_row(
            Text(_clean(each["provider"])),
            Text(each["circuit"].replace("_", "-") + rests, STATES.get(each["circuit"], "")),
            Text(f"{each['running']}/{each['slots']}"),
            _count(each["waiting"]),
            Text(str(calls.get("ok", 0))),
            _count(failed, "red"),
            *(() if is_narrow else (Text(str(each["retries"])),)),
        )
    return table


def _channels(channels: Sequence[Mapping[str, Any]], is_narrow: bool) -> Table:
    columns = ["CHANNEL", "doing", ">for", ">waiting", ">oldest", ">turns", ">idle"]
    table = _table(*columns[:-2] if is_narrow else columns)
    for each in channels:
        table.add_row(
            Text(_clean(each["channel"])),
            _doing(each),
            Text("" if each["doing_s"] is None else duration(each["doing_s"])),
            _count(each["waiting"]),
            Text("" if each["oldest_s"] is None else duration(each["oldest_s"])),
            *(() if is_narrow else (Text(str(each["turns"])), Text(duration(each["idle_s"])))),
        )
    return table


def _doing(channel: Mapping[str, Any]) -> Text:
    if channel["suspended_s"]:
        return Text(f"suspended {duration(channel['suspended_s'])}", "bold red")
    if channel["doing"] is None:
        return Text("-", "dim")
    return Text(str(channel["doing"]).lower(), "green")


def _count(number: int, style: str = "yellow") -> Text:
    return Text(str(number), style if number else "")


def _table(*columns: str) -> Table:
    """Return a table; a name that begins with ">" aligns right, the first takes the space left."""
    table = Table(box=None, expand=True, pad_edge=False, header_style=HEADER, padding=(0, 1))
    for number, name in enumerate(columns):
        table.add_column(
            name.lstrip(">"),
            justify="right" if name.startswith(">") else "left",
            no_wrap=True,
            overflow="ellipsis",
            ratio=None if number else 1,
            min_width=None if number else 12,
        )
    return table


def duration(seconds: float) -> str:
    """Format a duration in at most two units: 0.4s, 12s, 3m20s, 5h12m, 2d4h."""
    if seconds < 10:
        return f"{seconds:.1f}s"
    whole = int(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02}s"
    if whole < 86400:
        return f"{whole // 3600}h{whole % 3600 // 60:02}m"
    return f"{whole // 86400}d{whole % 86400 // 3600}h"


def _clean(text: object) -> str:
    # A channel may have any name, even one with control sequences for the terminal.
    return visible(str(text), "")
