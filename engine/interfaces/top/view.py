"""Formats an overview as the frame of `rosey-llm top`: the service, its providers, its channels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from engine.interfaces.reports.output import visible
from engine.interfaces.top.rates import Rates
from engine.interfaces.top.source import Overview

STATES = {"closed": "green", "half_open": "yellow", "open": "bold red"}
HEADER = "bold reverse"


def frame(seen: Overview, rates: Rates, height: int | None, gone: str | None = None) -> Group:
    """Return the frame.

    - `height`: lines that it may take; None for no limit
    - `gone`: why the overview is old, if it is
    """
    top = [_service(seen, gone), _work(seen, rates), *_problems(seen, gone), Text()]
    providers = _providers(seen["providers"])
    left = None if height is None else height - len(top) - providers.row_count - 3
    return Group(*top, providers, Text(), _channels(seen["channels"], left))


def _service(seen: Overview, gone: str | None) -> Text:
    name = f"{_clean(seen['name'])} {seen['rosey-llm']}"
    line = Text(name, "bold", no_wrap=True, overflow="ellipsis")
    stage = "gone" if gone else seen["stage"]
    line.append(f"  {stage}", {"running": "green", "gone": "bold red"}.get(stage, "yellow"))
    line.append(f"  up {duration(seen['uptime_s'])}  process {seen['pid']}", "not bold")
    if seen["memory_bytes"] is not None:
        line.append(f"  memory {seen['memory_bytes'] / 2**20:.0f} MiB", "not bold")
    channels = seen["channels"]
    known = "" if channels["known"] is None else f" of {channels['known']}"
    line.append(f"  channels {channels['active']}{known}", "not bold")
    return line


def _work(seen: Overview, rates: Rates) -> Text:
    turns = seen["turns"]
    line = Text(no_wrap=True, overflow="ellipsis")
    line.append(f"{rates.turns:.1f} turns/s  {rates.tokens:.0f} tokens/s", "bold cyan")
    line.append(f"  answered {turns['answered']}")
    line.append(f"  failed {turns['failed']}", "red" if turns["failed"] else "")
    line.append(f"  cancelled {turns['cancelled']}")
    waiting = seen["commands"]["waiting"]
    line.append(f"  waiting {waiting}", "yellow" if waiting else "")
    return line


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
            f"{store['unpublished']} outcomes are not published yet; the oldest waits for "
            f"{duration(store['oldest_unpublished_s'])}."
        )


def _misconfigured(providers: list[Mapping[str, Any]]) -> Iterator[Text]:
    for each in providers:
        if found := each.get("misconfigured"):  # a service of an older version has no such key
            what = f"Provider {each['provider']} {found['problem']}. {found['remedy']}."
            yield _problem(_clean(what))


def _problem(text: str) -> Text:
    return Text(text, "bold red", no_wrap=True, overflow="ellipsis")


def _providers(providers: list[Mapping[str, Any]]) -> Table:
    table = _table("PROVIDER", "circuit", ">running", ">waiting", ">ok", ">failed", ">retries")
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
            Text(str(each["retries"])),
        )
    return table


def _channels(channels: Mapping[str, Any], rows: int | None) -> Table:
    table = _table("CHANNEL", "doing", ">for", ">waiting", ">oldest", ">turns", ">idle")
    for each in channels["shown"][: None if rows is None else max(0, rows)]:
        table.add_row(
            Text(_clean(each["channel"])),
            _doing(each),
            Text("" if each["doing_s"] is None else duration(each["doing_s"])),
            _count(each["waiting"]),
            Text("" if each["oldest_s"] is None else duration(each["oldest_s"])),
            Text(str(each["turns"])),
            Text(duration(each["idle_s"])),
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
