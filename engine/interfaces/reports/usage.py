"""`rosey-llm usage`: prints what calls to models used as a table, a list or JSON."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Literal

from engine.accounting import scopes
from engine.accounting.days import EPOCH, Days
from engine.clock import now_ms
from engine.interfaces.reports.output import Output, counted, number
from storage import usage
from storage.queries.reader import Reader
from storage.usage import Sums

By = Literal["user", "channel", "persona", "provider", "model", "day"]
KINDS: dict[By | None, str] = {
    None: scopes.ALL,
    "user": scopes.USER,
    "channel": scopes.CHANNEL,
    "persona": scopes.PERSONA,
    "provider": scopes.PROVIDER,
    "model": scopes.MODEL,
}
MICRO = 1_000_000


def last_days(timezone: str, days: int) -> tuple[int, int]:
    """Return the first and the last of so many days up to today."""
    today = Days(timezone).of(now_ms())
    return today - days + 1, today


def sums(connection: Reader, by: By | None, span: tuple[int, int], limit: int) -> list[Sums]:
    """Return the sums of each key that was used in these days; one total without `by`."""
    if by == "day":
        return usage.by_day(connection, scopes.ALL, *span)[-limit:]
    if by is None:
        return [usage.total(connection, scopes.ALL, *span)]
    return usage.by_scope(connection, KINDS[by], *span, limit)


def print_sums(out: Output, found: list[Sums], by: By | None) -> None:
    if by is None:
        _print_one(out, found[0])
        return
    heads = [by, "requests", "prompt tokens", "cached", "answer tokens", "USD"]
    rows = [
        (
            key_of(each, by),
            each.requests,
            each.prompt_tokens,
            each.cached_tokens,
            each.completion_tokens,
            dollars(each),
        )
        for each in found
    ]
    out.table(heads, rows)
    if unpriced := sum(each.unpriced for each in found):
        their = "its model" if unpriced == 1 else "their models"
        out.line(f"{counted(unpriced, 'request')} without a price: add {their} to [prices].")


def _print_one(out: Output, total: Sums) -> None:
    for name, value in (
        ("requests", number(total.requests)),
        ("prompt tokens", number(total.prompt_tokens)),
        ("  of them cached", number(total.cached_tokens)),
        ("answer tokens", number(total.completion_tokens)),
        ("USD", dollars(total)),
        ("requests without a price", number(total.unpriced)),
        ("requests with estimated tokens", number(total.estimated)),
    ):
        out.line((f"{name:<32}", "bold"), value)


def dollars(of: Sums) -> str:
    """Return the cost to the hundredth of a cent; "?" if no price is known at all."""
    if of.unpriced and of.unpriced >= of.requests and not of.micro_usd:
        return "?"
    return f"{of.micro_usd / MICRO:,.4f}"


def key_of(of: Sums, by: By) -> str:
    """Return what the sums are of, without the kind of its scope."""
    if by == "day":
        return (EPOCH + timedelta(days=of.day)).isoformat()
    key = of.scope.removeprefix(KINDS[by])
    if by == "user":
        return key.removeprefix("name ") if key.startswith("name ") else key
    return key


def record(of: Sums, by: By | None) -> dict[str, Any]:
    """Return the sums for JSON; the key is under the name of what it groups by."""
    return {
        **({} if by is None else {str(by): key_of(of, by)}),
        **{name: getattr(of, name) for name in usage.SUMS if name != "micro_usd"},
        "usd": of.micro_usd / MICRO,
    }
