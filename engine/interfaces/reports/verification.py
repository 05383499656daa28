"""`rosey-llm history verify`: prints the result of a verification as text or JSON."""

from __future__ import annotations

from typing import Any

from engine.interfaces.reports.dates import iso, shown
from engine.interfaces.reports.output import Output, counted, visible
from engine.interfaces.reports.progress import ProgressBar
from storage.verification import Advance, Seal, TamperedRow, Verified

EVERY_ROWS = 10_000


def advance(bar: ProgressBar, total: int) -> Advance:
    """Return a callback that moves the bar, once for every `EVERY_ROWS` rows."""
    done = 0

    def advance(rows: int) -> None:
        nonlocal done
        before, done = done, done + rows
        if done // EVERY_ROWS > before // EVERY_ROWS:
            bar.update(done, total)

    return advance


def print_verified(out: Output, proved: Verified, sealed: Seal | None) -> None:
    """Print the proof; `sealed` is the earlier seal that it was checked against."""
    out.line(
        f"Verified: {counted(proved.rows, 'row')} in {counted(proved.channels, 'channel')}, "
        f"{proved.erased:,} of them erased."
    )
    if proved.rows:
        out.line(f"From {shown(proved.first_ms)} to {shown(proved.last_ms)}.")
    if sealed is not None:
        out.line(f"Rows up to {sealed.last_id:,} match the seal.")
    if proved.seal is not None:
        out.line(f"Seal: {proved.seal}")


def print_tampered(out: Output, broken: TamperedRow) -> None:
    out.line(("The history was changed.", "bold red"))
    if broken.row_id is not None:
        out.line(
            f"Row {broken.row_id:,} (number {broken.seq} in {visible(broken.channel)}, "
            f"{shown(broken.ts_ms)}):"
        )
    out.line(visible(broken.problem))


def record(proved: Verified) -> dict[str, Any]:
    """Return the proof for JSON."""
    return {
        "ok": True,
        "rows": proved.rows,
        "channels": proved.channels,
        "erased": proved.erased,
        "first": _iso(proved.first_ms),
        "last": _iso(proved.last_ms),
        "seal": str(proved.seal) if proved.seal else None,
    }


def tampered_record(broken: TamperedRow) -> dict[str, Any]:
    """Return the problem for JSON; id, channel, seq and time are None if it is not one row's."""
    return {
        "ok": False,
        "problem": broken.problem,
        "id": broken.row_id,
        "channel": broken.channel,
        "seq": broken.seq,
        "time": _iso(broken.ts_ms),
    }


def _iso(ms: int | None) -> str | None:
    return None if ms is None else iso(ms)
