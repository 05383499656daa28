"""`rosey-llm history stats`: prints counted turns as a table, a list or JSON."""

from __future__ import annotations

from typing import Any

from engine.interfaces.reports.output import Output, number, visible
from storage.queries.totals import By, TurnTotals


def print_totals(out: Output, found: list[TurnTotals], by: By | None) -> None:
    if by is None:
        _print_one(out, found[0])
        return
    heads = [by, "turns", "answers", "errors", "cancelled", "prompt tokens", "answer tokens"]
    heads += ["p50 ms", "p90 ms", "p99 ms", "errors by code"]
    rows = [
        (
            each.key,
            each.turns,
            each.answers,
            each.errors.total(),
            each.cancelled,
            each.prompt_tokens,
            each.completion_tokens,
            each.p50_ms,
            each.p90_ms,
            each.p99_ms,
            _codes(each),
        )
        for each in found
    ]
    out.table(heads, rows)


def _print_one(out: Output, total: TurnTotals) -> None:
    for name, value in (
        ("turns", number(total.turns)),
        ("answers", number(total.answers)),
        ("errors", number(total.errors.total())),
        *((f"  {visible(code)}", number(count)) for code, count in total.errors.most_common()),
        ("cancelled", number(total.cancelled)),
        ("prompt tokens", number(total.prompt_tokens)),
        ("answer tokens", number(total.completion_tokens)),
        ("latency", _latencies(total)),
    ):
        out.line((f"{name:<24}", "bold"), value)


def _latencies(total: TurnTotals) -> str:
    if total.p50_ms is None:
        return "-"
    return f"p50 {total.p50_ms:,} ms, p90 {total.p90_ms:,} ms, p99 {total.p99_ms:,} ms"


def _codes(total: TurnTotals) -> str:
    return ", ".join(f"{code} {count:,}" for code, count in total.errors.most_common())


def record(total: TurnTotals, by: By | None) -> dict[str, Any]:
    """Return the totals for JSON; the group's key is under the name of what it groups by."""
    return {
        **({} if by is None else {str(by): total.key}),
        "turns": total.turns,
        "answers": total.answers,
        "cancelled": total.cancelled,
        "errors": dict(total.errors),
        "prompt_tokens": total.prompt_tokens,
        "completion_tokens": total.completion_tokens,
        "latency_p50_ms": total.p50_ms,
        "latency_p90_ms": total.p90_ms,
        "latency_p99_ms": total.p99_ms,
    }
