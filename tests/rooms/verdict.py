"""The verdict on a run: each prompt is proved, each room kept its rule, and nothing got out."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from engine.texts.table import TABLE
from tests.rooms import rules
from tests.rooms.models import RecordedModel
from tests.rooms.proofs import DATABASE, Proofs
from tests.rooms.rules import CELLAR, GERMAN, LOCKED, MAY_SEE, PLAIN, ROOMS, SHARE, word
from tests.rooms.traffic import FLOODER, Asked, Traffic
from tests.support.command_line import rosey
from tests.test_texts_in_rooms import german

MOST_SHOWN = 20
# Of a provider that goes, and of people who ask too much or stop; nothing else may fail.
EXPECTED = {"busy", "cancelled", "provider_unavailable", "provider_error"}


@dataclass
class Verdict:
    """The figures of a run, and what was wrong."""

    figures: dict[str, Any] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    @property
    def is_good(self) -> bool:
        return not self.faults

    def fault(self, *what: object) -> None:
        self.faults.append(" ".join(map(str, what)))

    def lines(self) -> list[str]:
        figures = [f"{name}: {figure}" for name, figure in self.figures.items()]
        faults = [f"FAULT {each}" for each in self.faults[:MOST_SHOWN]]
        return [*figures, *faults, f"faults: {len(self.faults)}"]


def judge(
    folder: Path, traffic: Traffic, models: Mapping[str, RecordedModel], rounds: int
) -> Verdict:
    """Return the verdict on a run whose service has ended. rounds: after the first one."""
    verdict = Verdict(faults=list(traffic.faults))
    _outcomes(traffic, verdict)
    _languages(traffic, verdict)
    _sockets(models, verdict)
    _history(folder, traffic, models, rounds, verdict)
    _commands(folder, traffic, verdict)
    return verdict


def _outcomes(traffic: Traffic, verdict: Verdict) -> None:
    """Check that everything has an outcome, in its order."""
    codes = Counter[str]()
    for asked in traffic.asked:
        if (outcome := asked.outcome) is None:
            verdict.fault(asked.request_id, "was never answered")
        elif outcome["type"] == "llm_error":
            codes[f"{word(asked.room)} {outcome['code']}"] += 1
            if outcome["code"] not in EXPECTED or (
                outcome["code"] == "busy" and asked.user != FLOODER
            ):
                verdict.fault(asked.request_id, outcome)
        elif asked.deltas and asked.text != outcome["content"]:
            verdict.fault(asked.request_id, "has deltas that differ from", outcome)
    verdict.figures["asked"] = len(traffic.asked)
    verdict.figures["errors"] = dict(sorted(codes.items()))
    for room in ROOMS:
        chats = [
            number
            for number in traffic.ended
            if (each := traffic.asked[number]).room == room and each.is_answered_chat
        ]
        verdict.figures[f"answers in {room}"] = len(chats)
        if chats != sorted(chats):
            verdict.fault(room, "has answers out of order")


def _languages(traffic: Traffic, verdict: Verdict) -> None:
    """Check that what the service itself says has the words of the room."""
    english = _sentences({key: each.english for key, each in TABLE.items()})
    in_german = _sentences({**german()["de"], "round": "Nichts anzuhalten ({number})."})
    for asked in traffic.asked:
        if asked.outcome is None or asked.is_from_model:
            continue
        said = asked.outcome.get("content") or asked.outcome["error"]
        if asked.room == GERMAN:
            is_known = in_german.fullmatch(said) is not None
        else:  # an error may quote a provider, in any words
            is_known = "error" in asked.outcome or english.fullmatch(said) is not None
        if not is_known:
            verdict.fault(asked.request_id, "has other words:", said)


def _sentences(texts: Mapping[str, str]) -> re.Pattern[str]:
    """Return a pattern of these texts, whatever stands for their placeholders."""
    said = [text for text in texts.values() if not re.fullmatch(r"\{\w+\}", text)]
    parts = [".+".join(map(re.escape, re.split(r"\{\w+\}", text))) for text in said]
    return re.compile("|".join(parts), re.DOTALL)


def _sockets(models: Mapping[str, RecordedModel], verdict: Verdict) -> None:
    """Check that no byte of a room came to a provider that may not see it."""
    for name, model in models.items():
        verdict.figures[f"bytes that {name} received"] = model.size_bytes
        for room in ROOMS:
            times, may_see = model.times(word(room)), name in MAY_SEE[room]
            if not may_see:
                verdict.figures[f"{word(room)} at {name}"] = times
            if times and not may_see:
                verdict.fault(f"{word(room)} came to {name} {times} times")
            if not times and may_see and name != CELLAR:
                verdict.fault(f"{name} received nothing of {room}")
        strange = [each for each in model.seen if not _may_see(name, each)]
        if strange:
            verdict.fault(f"{name} was asked for", strange[:5])


def _may_see(provider: str, request_id: str) -> bool:
    return any(
        provider in MAY_SEE[room] for room in ROOMS if request_id.startswith(f"{word(room)}-")
    )


def _history(
    folder: Path,
    traffic: Traffic,
    models: Mapping[str, RecordedModel],
    rounds: int,
    verdict: Verdict,
) -> None:
    """Check each prompt, by the history and by what the providers received, and its rule."""
    proofs = Proofs(folder / DATABASE, models.values())
    for room in ROOMS:
        proofs.prove(room)
        missing = {*range(rounds + 1)} - {*proofs.rounds(room)}
        if missing:
            verdict.fault(room, "has no answer of the rounds", sorted(missing))
        if proofs.rounds(room) != sorted(proofs.rounds(room)):
            verdict.fault(room, "has a rule that was older than the one before")
    verdict.faults += proofs.faults
    received = len(proofs.seen.keys() & proofs.proved.keys())
    verdict.figures |= {"prompts proved": len(proofs.proved), "received so": received}
    if unknown := proofs.seen.keys() - proofs.proved.keys():
        verdict.fault("prompts without a proof:", sorted(unknown)[:5])
    for asked in traffic.asked:
        if asked.is_from_model and (number := proofs.proved.get(asked.request_id)) is not None:
            _rule(asked, number, verdict)
    completions = {each.request_id for each in traffic.asked if each.kind == "complete"}
    waits = proofs.waits(PLAIN, FLOODER, completions)
    verdict.figures["turns of the flooder that others waited for"] = dict(sorted(waits.items()))
    if max(waits, default=0) > SHARE:
        verdict.fault(f"others waited for {max(waits)} turns of one speaker, who may have {SHARE}")


def _rule(asked: Asked, number: int, verdict: Verdict) -> None:
    """Check that an answer is as the rule of its round wants it."""
    rule, outcome = rules.rule_of(asked.room, number), asked.outcome or {}
    longest, parts = rule.get("max_reply_chars"), outcome.get("parts")
    if longest is not None:
        pieces = parts if rule["parts"] else [outcome["content"]]
        if not pieces or max(map(len, pieces)) > longest or "".join(pieces) != outcome["content"]:
            verdict.fault(asked.request_id, "is not as long as", rule, outcome)
    if outcome["provider"] not in MAY_SEE[asked.room]:
        verdict.fault(asked.request_id, "was answered by", outcome["provider"])
    is_first = outcome["provider"] == rule.get("provider")
    if is_first and outcome["model"] != rule.get("model", outcome["model"]):
        verdict.fault(asked.request_id, "has another model than", rule, outcome)


def _commands(folder: Path, traffic: Traffic, verdict: Verdict) -> None:
    """Ask the commands that an operator has."""
    verified = rosey(folder, "history", "verify")
    verdict.figures["history verify"] = verified.stdout.strip().partition("\n")[0]
    if verified.returncode:
        verdict.fault("history verify:", verified.stdout, verified.stderr)
    for room in ROOMS:
        last = next(
            each for each in reversed(traffic.asked) if each.room == room and each.is_answered_chat
        )
        shown = rosey(folder, "history", "prompt", last.request_id, "--json")
        if shown.returncode or not orjson.loads(shown.stdout)["exact"]:
            verdict.fault("history prompt", last.request_id, shown.stdout, shown.stderr)
    outside = rosey(folder, "channel", "show", LOCKED)
    if outside.returncode or "outside" in outside.stdout:
        verdict.fault("channel show", outside.stdout, outside.stderr)
