"""What a proof of the history came to, for people and as JSON."""

from __future__ import annotations

from typing import Any

from engine.interfaces.reports.dates import iso, shown
from engine.interfaces.reports.output import Output, visible
from engine.interfaces.reports.progress import ProgressBar
from storage.verification import Advance, Seal, TamperedRow, Verified

EVERY_ROWS = 10_000


def advance(bar: ProgressBar, total: int) -> Advance:
    """Moves the bar, but not for every few rows."""
    done = 0

    def advance(rows: int) -> None:
        nonlocal done
        before, done = done, done + rows
        if done // EVERY_ROWS > before // EVERY_ROWS:
            bar.update(done, total)

    return advance


def print_verified(out: Output, proved: Verified, sealed: Seal | None) -> None:
    """`sealed` is the earlier seal that was found to hold."""
    out.line(
        f"As it was written: {proved.rows:,} rows in {proved.channels:,} channels, "
        f"{proved.erased:,} of them erased."
    )
    if proved.rows:
        out.line(f"From {shown(proved.first_ms)} to {shown(proved.last_ms)}.")
    if sealed is not None:
        out.line(f"The rows up to {sealed.last_id:,} are those that were sealed.")
    if proved.seal is not None:
        out.line(f"Seal: {proved.seal}")


def print_tampered(out: Output, broken: TamperedRow) -> None:
    out.line(("The history is not as it was written.", "bold red"))
    if broken.row_id is not None:
        out.line(
            f"Row {broken.row_id:,}, which is row {broken.seq} of {visible(broken.channel)}, "
            f"of {shown(broken.ts_ms)}:"
        )
    out.line(visible(broken.problem))


def record(proved: Verified) -> dict[str, Any]:
    """For JSON."""
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
    """For JSON; what is not of one row has no id, channel, seq and time."""
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
