"""What the history says after the demo: the turn that was cut off, its prompt, all the rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from engine.interfaces.demo.script import ScriptedExchange
from engine.interfaces.reports.dates import iso
from engine.interfaces.reports.output import Output, Span, visible
from engine.interfaces.reports.prompt_rebuild import RebuiltPrompt, rebuild
from storage import verification
from storage.queries import turns
from storage.queries.reader import Reader, reading
from storage.queries.turns import RecordedTurn
from storage.verification import TamperedRow, Verified

WIDTH = 80


class NotAsPromised(Exception):
    """The engine did not do what it promises; the text says what."""


@dataclass(slots=True)
class Crash:
    """When which process was killed, after how many words of its answer, and which one followed."""

    at_ms: int
    pid: int
    words: int
    next_pid: int = 0


@dataclass(slots=True)
class Proof:
    """What the history proves.

    prompt: that of the turn that was cut off. doubts: sentences about what is not as promised.
    """

    prompt: RebuiltPrompt
    verified: Verified | None
    questions: int
    answers: int = 0
    doubts: list[str] = field(default_factory=list)


def prove(database: Path, asked: Sequence[ScriptedExchange], cut: ScriptedExchange) -> Proof:
    """Compare the history with what was asked and answered. Raises CannotOpen, NotAsPromised."""
    with reading(database) as connection:
        found = {exchange.request_id: _turns(connection, exchange) for exchange in asked}
        if not found[cut.request_id]:
            raise NotAsPromised(f"The history does not have the turn {cut.request_id}.")
        prompt = rebuild(connection, found[cut.request_id][0])
        proof = Proof(prompt, None, len(asked))
        for exchange in asked:
            proof.doubts += _doubts(connection, exchange, found[exchange.request_id])
            proof.answers += sum(turn.uses for turn in found[exchange.request_id])
        try:
            proof.verified = verification.verify(connection)
        except TamperedRow as exc:
            proof.doubts.append(f"The history was changed: {exc.problem}")
    return proof


def _turns(connection: Reader, exchange: ScriptedExchange) -> list[RecordedTurn]:
    return turns.find(connection, exchange.request_id)


def _doubts(
    connection: Reader, exchange: ScriptedExchange, found: Sequence[RecordedTurn]
) -> list[str]:
    name = exchange.request_id
    if len(found) != 1 or found[0].uses != 1:
        uses = sum(turn.uses for turn in found)
        return [f"{name} has {uses} outcomes instead of one."]
    turn = found[0]
    if turn.asked is None or turn.asked.content != exchange.question:
        return [f"{name} has another question than was asked."]
    if turn.outcome.content != exchange.answer:
        return [f"{name} has another answer than the model gave: {visible(turn.outcome.content)}"]
    prompt = rebuild(connection, turn)
    return [] if prompt.matches else [f"The prompt of {name} is {prompt.verdict}"]


def show(out: Output, proof: Proof, cut: ScriptedExchange, crash: Crash) -> None:
    """Print the proof: at most 18 lines of 80 characters."""
    outcome, details = proof.prompt.turn.outcome, proof.prompt.details
    out.line(
        ("The turn that was cut off, from the history", "bold"), " (rosey-llm history prompt):"
    )
    out.line()
    words = len(outcome.content.split())
    for at_ms, what, note in (
        (details.get("accepted_ms"), "accepted", f"{cut.user}: {cut.question}"),
        (crash.at_ms, "killed", f"process {crash.pid}, after {crash.words} words of its answer"),
        (details.get("started_ms"), "started", f"again, by process {crash.next_pid}"),
        (outcome.ts_ms, "answered", f"all {words} words; stored, and then sent"),
        (outcome.published_ms, "published", f"to {cut.user} in {cut.room}"),
    ):
        style = "bold red" if what == "killed" else "bold"
        out.line((f"  {_clock(at_ms)}  ", "dim"), (f"{what:<11}", style), note)
    out.line()
    _fact(out, "prompt", proof.prompt.verdict, good=bool(proof.prompt.matches))
    for message in proof.prompt.messages:
        start = f"            {message.role:<10} "
        room = WIDTH - len(start) - 1
        text = visible(message.content)
        out.line((start, "cyan"), (text if len(text) < room else text[: room - 1] + "…", "dim"))
    counted = f"{proof.questions} questions, {proof.answers} answers"
    none = "" if proof.doubts else ": none lost, none doubled"
    _fact(out, "history", counted + none, good=not proof.doubts)
    if proof.verified is not None:
        seal = str(proof.verified.seal)[:19]
        _fact(out, "", f"verified: {proof.verified.rows} rows, none was changed; seal {seal}…")
    for doubt in proof.doubts:
        _fact(out, "", f"not as promised: {doubt}", good=False)


def _fact(out: Output, name: str, value: str, *, good: bool = True) -> None:
    mark: Span = ("", "") if not name else ("✓ ", "bold green") if good else ("✗ ", "bold red")
    out.line("  ", mark, (f"{name:<{10 - len(mark[0])}}", "bold"), (value, "" if good else "red"))


def _clock(ms: int | None) -> str:
    """Return the time of day, to the millisecond."""
    return "-" * 12 if ms is None else iso(ms)[11:23]
