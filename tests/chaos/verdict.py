"""The verdict on a chaos run: compares what was sent and received with the database at the end."""

from __future__ import annotations

import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import pairwise, takewhile
from typing import Any

import orjson

from engine.actors.conversation import Conversation
from storage import snapshots
from tests.chaos.bots import RequestLog
from tests.chaos.ground import RunFolder
from tests.chaos.llm import MODEL, Prompt
from tests.chaos.retelling import MAX_CONTEXT_MESSAGES, ReplayedHistory
from tests.chaos.saboteur import Damage
from tests.chaos.witness import Key, Ledger

SHOWN = 5
ATTEMPTS = 2
FRAME_LINES = 8  # of a traceback: about the three or four innermost frames


@dataclass
class Evidence:
    """Everything that a run has left.

    exit_code: of the last engine. log: stderr of all engines.
    """

    run_folder: RunFolder
    ledger: Ledger
    request_log: RequestLog
    damage: Damage
    prompts: Mapping[str, list[Prompt]]
    exit_code: int | None
    log: str


@dataclass
class Verdict:
    """Counts and faults by kind; the run is good if there are no faults."""

    accepted: int = 0
    at_once: int = 0
    answered: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    not_judged: int = 0
    faults: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def count(self, kind: str) -> int:
        return len(self.faults.get(kind, ()))


def judge(evidence: Evidence) -> Verdict:
    """Run all checks."""
    return _Judge(evidence).verdict()


class _Judge:
    def __init__(self, evidence: Evidence) -> None:
        self._evidence = evidence
        self._verdict = Verdict()
        run_folder = evidence.run_folder
        names = {row["id"]: row["name"] for row in run_folder.rows("SELECT id, name FROM channel")}
        self._channels = list(names.values())
        self._accepted = _read_rows(run_folder, names, "SELECT * FROM chaos_accepted ORDER BY n")
        self._settled = _read_rows(run_folder, names, "SELECT * FROM chaos_settled ORDER BY n")
        self._history = _read_rows(run_folder, names, "SELECT * FROM history ORDER BY id")
        self._outcomes = {_key(row): row for row in reversed(self._settled)}
        self._completions = {_key(r) for r in self._accepted if r["command"] == "Complete"}
        self._replayed = {
            channel: ReplayedHistory.of(row for row in self._history if row["channel"] == channel)
            for channel in self._channels
        }

    def verdict(self) -> Verdict:
        verdict = self._verdict
        waited = {_key(row) for row in self._accepted}
        verdict.accepted = len(waited)
        verdict.at_once = len(self._outcomes.keys() - waited)
        for row in self._outcomes.values():
            if row["kind"] == "response":
                verdict.answered += 1
            else:
                verdict.failed[orjson.loads(row["body"])["code"]] += 1
        self._check_lost()
        self._check_doubled()
        self._check_order_kept()
        self._check_order_heard()
        self._check_bursts()
        self._check_prompts()
        self._check_personas()
        self._check_strangers()
        self._check_left_over()
        self._check_states()
        self._check_engines()
        return verdict

    def _fault(self, kind: str, text: str) -> None:
        self._verdict.faults[kind].append(text)

    def _check_lost(self) -> None:
        received = self._evidence.ledger.outcomes
        for key in dict.fromkeys(_key(row) for row in self._accepted):
            if key not in self._outcomes:
                self._fault("lost", f"{key} was accepted and has no outcome")
            elif key not in received:
                self._fault("lost", f"{key} has an outcome that no client received")
        for key in self._evidence.request_log.given_up:
            self._fault("lost", f"{key} was sent many times and never answered")

    def _check_doubled(self) -> None:
        for what, rows in (("accepted", self._accepted), ("settled", self._settled)):
            for key, times in Counter(_key(row) for row in rows).items():
                if times > 1:
                    self._fault("doubled", f"{key} was {what} {times} times")
        ledger = self._evidence.ledger
        for key, other in ledger.different.items():
            self._fault("doubled", f"{key}: {ledger.outcomes[key].body!r} and {other!r}")
        for key, row in self._outcomes.items():
            if (first := ledger.outcomes.get(key)) and first.body != row["body"]:
                self._fault("doubled", f"{key}: received {first.body!r}, stored {row['body']!r}")

    def _check_order_kept(self) -> None:
        """Check that outcomes and history rows are in the order of acceptance, by channel."""
        for what, rows in (("settled", self._settled), ("history", self._history)):
            for channel, place in self._places().items():
                keys = dict.fromkeys(_key(row) for row in rows if row["channel"] == channel)
                for earlier, later in pairwise(key for key in keys if key in place):
                    if place[earlier] > place[later]:
                        self._fault("out of order", f"{what}: {earlier} before {later}")

    def _check_order_heard(self) -> None:
        """Check the order that the witness received, for the times when it had a server."""
        ledger = self._evidence.ledger
        for place in self._places().values():
            received = [key for key in ledger.witnessed if key in place and key in self._outcomes]
            for earlier, later in pairwise(received):
                if place[earlier] < place[later]:
                    continue
                since_ms = self._outcomes[later]["at_ms"]
                if ledger.gap_between(since_ms, ledger.witnessed[earlier].at_ms):
                    self._verdict.not_judged += 1
                else:
                    self._fault("out of order", f"received: {earlier} before {later}")

    def _check_bursts(self) -> None:
        """Check that bursts are accepted in the order sent, if an engine listened all the time."""
        evidence = self._evidence
        accepted = {_key(row): (n, row["at_ms"]) for n, row in enumerate(self._accepted)}
        bursts: dict[str, list[Key]] = defaultdict(list)
        for key, sent in evidence.request_log.sent.items():
            if key in accepted:
                bursts[sent.burst[0]].append(key)
        for keys in bursts.values():
            for earlier, later in pairwise(keys):
                if accepted[earlier][0] < accepted[later][0]:
                    continue
                from_ms = evidence.request_log.sent[earlier].sent_ms
                if earlier in evidence.ledger.refused or any(
                    from_ms <= at_ms <= accepted[earlier][1]
                    for at_ms in evidence.damage.disturbances
                ):
                    self._verdict.not_judged += 1
                else:
                    self._fault("out of order", f"accepted: {later} before {earlier}")

    def _places(self) -> dict[str, dict[Key, int]]:
        """Return the place of each key in its channel's order.

        A raw completion has none, and neither has a command that a stop dropped.
        """
        places: dict[str, dict[Key, int]] = defaultdict(dict)
        for n, row in enumerate(self._accepted):
            outcome = self._outcomes.get(_key(row), {"body": b""})
            if row["command"] != "Complete" and b" was dropped." not in outcome["body"]:
                places[row["channel"]].setdefault(_key(row), n)
        return places

    def _check_prompts(self) -> None:
        """Check that each prompt shows exactly what the channel knew then, according to history."""
        channel_of = {key[1]: key for key in self._evidence.request_log.sent}
        for request_id, prompts in self._evidence.prompts.items():
            key = channel_of.get(request_id)
            if key is None or key[0] not in self._replayed:
                self._fault("prompts", f"{request_id} was never sent: {prompts}")
                continue
            replayed = self._replayed[key[0]].prompts.get(request_id)
            is_raw = key in self._completions
            expected = (f"model {MODEL}", prompts[0][-1]) if is_raw else replayed
            for prompt in prompts:
                if prompt != expected:
                    self._fault("prompts", f"{key}: expected {expected}, got {prompt}")
            if len(prompts) > ATTEMPTS:
                self._fault("asked too often", f"{key}: {len(prompts)} times")

    def _check_personas(self) -> None:
        for key, row in self._outcomes.items():
            outcome = orjson.loads(row["body"])
            if (outcome["type"], outcome.get("action")) != ("llm_response", "chat"):
                continue
            expected = self._replayed[key[0]].personas.get(key[1])
            if outcome["persona"] != expected:
                self._fault("personas", f"{key}: expected {expected}, got {outcome['persona']}")

    def _check_strangers(self) -> None:
        ledger = self._evidence.ledger
        for key in ledger.outcomes.keys() - self._outcomes.keys():
            self._fault(
                "strangers", f"{key} was received and is not stored: {ledger.outcomes[key]}"
            )
        for key in ledger.too_early:
            self._fault("too early", f"{key} was received before it was committed")
        for text in ledger.bad_deltas:
            self._fault("deltas", text)
        for text in ledger.not_in_schema:
            self._fault("schemas", text)
        if suspended := ledger.refusals["suspended"]:
            self._fault("engines", f"channels were suspended ({suspended} refusals)")

    def _check_left_over(self) -> None:
        rows = self._evidence.run_folder.rows
        for row in rows("SELECT request_id FROM mailbox"):
            self._fault("left over", f"{row[0]} still waits in the mailbox")
        for row in rows("SELECT request_id FROM outbox WHERE published_ms IS NULL"):
            self._fault("left over", f"{row[0]} still waits in the outbox")
        for row in rows(
            "SELECT name, count(*), max(seq), count(DISTINCT seq) FROM history h"
            " JOIN channel c ON c.id = h.channel_id GROUP BY name"
        ):
            if len({row[1], row[2], row[3]}) > 1:
                self._fault("history", f"{row[0]}: {row[1]} rows, the last is number {row[2]}")
        for kept in self._outcomes.keys() - {_key(row) for row in self._history}:
            self._fault("history", f"{kept} has an outcome and no row")

    def _check_states(self) -> None:
        """Check that snapshot, history and our replay give the same state of a channel."""
        uri = f"file:{self._evidence.run_folder.database}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True)) as connection:
            for channel in self._channels:
                replayed = self._replayed[channel]
                for trust in (True, False):
                    state = _state_on_waking(connection, channel, trust)
                    wanted = replayed.chosen, replayed.model, replayed.window
                    if state != wanted:
                        expected = f"expected {wanted}, got {state}"
                        self._fault("states", f"{channel} (snapshot {trust}): {expected}")

    def _check_engines(self) -> None:
        for text in self._evidence.damage.unexpected_ends:
            self._fault("engines", text)
        if self._evidence.exit_code != 0:
            self._fault("engines", f"the last drain ended with {self._evidence.exit_code}")
        lines = self._evidence.log.splitlines()
        for index, line in enumerate(lines):
            if line.startswith("Traceback"):
                self._fault("engines", _traceback(lines[index:]))
            elif " ERROR " in line:
                self._fault("engines", line)


def _read_rows(run_folder: RunFolder, names: Mapping[int, str], sql: str) -> list[dict[str, Any]]:
    return [{**dict(row), "channel": names[row["channel_id"]]} for row in run_folder.rows(sql)]


def _traceback(lines: Sequence[str]) -> str:
    """Return what a traceback at the start of the lines tells: its exception, the last frames."""
    frames = list(takewhile(lambda line: line.startswith(" "), lines[1:]))
    exception = lines[len(frames) + 1 : len(frames) + 2]
    return "\n".join([*exception, *frames[-FRAME_LINES:]])


def _key(row: Mapping[str, Any]) -> Key:
    return row["channel"], row["request_id"]


def _state_on_waking(
    connection: sqlite3.Connection, channel: str, trust_snapshot: bool
) -> tuple[str | None, str | None, list[tuple[str, str, str]]]:
    """Return what an actor knows when it loads its channel, by the engine's own code."""
    window = MAX_CONTEXT_MESSAGES
    loaded = snapshots.load(connection, channel, window, trust_snapshot=trust_snapshot)
    state = Conversation.decode(loaded.body, window) if loaded.body else Conversation(window)
    state.replay(loaded.rows)
    exchanges = [(e.username, e.message, e.answer) for e in state.exchanges]
    return state.persona, state.model and state.model.model, exchanges


def format_table(rows: Iterable[tuple[str, object]]) -> Iterator[str]:
    for name, value in rows:
        yield f"{name:<42} {value}"
