"""Whether a run's engines kept to permissions, access and limits, by what they accepted."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Mapping

from tests.chaos.bots import SentRequest
from tests.chaos.people import GUARDED, LIMITS, Identity
from tests.chaos.verdict import Evidence

FREE = ("help", "personas", "usage", "stop", "stop all")
FIRST_PAUSE_S = 1.0


def faults(evidence: Evidence, identities: Mapping[str, Identity]) -> Iterator[str]:
    """Yield what was accepted or refused wrongly. identities: by name."""
    sent = {key[1]: request for key, request in evidence.request_log.sent.items()}
    accepted = evidence.run_folder.rows("SELECT request_id, at_ms FROM chaos_accepted ORDER BY n")
    for row in accepted:
        request = sent[row["request_id"]]
        identity = identities[request.username]
        if not identity.may(request.kind):
            yield f"{request.key}: {identity} may not {request.kind}, and was accepted"
        if identity.is_denied:
            yield f"{request.key} is of a denied sender, and was accepted"
    known = {row["request_id"] for row in accepted}
    for key, code in evidence.ledger.refused.items():
        request = sent[key[1]]
        identity = identities[request.username]
        is_open = request.kind not in (*GUARDED, "stop")  # a stop depends on who is answered
        is_heard = not identity.is_bot and not identity.is_denied
        if code == "not_allowed" and key[1] not in known and is_open and is_heard:
            yield f"{key}: {identity} was refused a {request.kind}"
    yield from _over_limits(evidence, sent)


def _over_limits(evidence: Evidence, sent: Mapping[str, SentRequest]) -> Iterator[str]:
    """Yield who was let through more often than the buckets of an engine's life allow."""
    starts = sorted(evidence.damage.starts)
    passed: Counter[tuple[int, str]] = Counter()
    last_ms: dict[int, int] = {}
    for row in evidence.run_folder.rows("SELECT request_id, at_ms FROM chaos_accepted ORDER BY n"):
        life = bisect_right(starts, row["at_ms"])
        last_ms[life] = row["at_ms"]
        request = sent[row["request_id"]]
        if request.kind not in FREE:
            passed[life, request.username] += 1
    for (life, name), number in passed.items():
        lived_s = (last_ms[life] - starts[life - 1]) / 1000 + FIRST_PAUSE_S
        limit = LIMITS["user_per_minute"]
        if number > limit * (1 + lived_s / 60):
            yield f"{name} was let through {number} times in {lived_s:.0f} s, {limit} a minute"
