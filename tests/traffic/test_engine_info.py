"""What an engine makes of the others that it sees: who goes on, who waits, who refuses."""

from __future__ import annotations

from itertools import permutations

import orjson
import pytest

from engine.traffic.engine_info import Decision, EngineInfo, State, decide

INPUTS = frozenset({"rosey.command.chat", "llm.request"})
OWN = EngineInfo(INPUTS, "m", state="starting", started="2026-12-01T09:00:00.500Z")


def other(state: State, started: str = "", subjects: frozenset[str] = INPUTS) -> EngineInfo:
    return EngineInfo(subjects, "x", state=state, started=started)


@pytest.mark.parametrize(
    ("others", "decision"),
    [
        ([], "alone"),
        ([OWN], "alone"),
        ([other("running", subjects=frozenset({"other.chat"}))], "alone"),
        ([other("running", subjects=frozenset({"llm.request"}))], "second"),
        ([other("running")], "second"),
        ([other("running"), other("draining")], "second"),
        ([other("draining")], "wait"),
        ([other("starting", "2026-12-01T09:00:00.400Z")], "later"),
        ([other("starting", "2026-12-01T09:00:00.600Z")], "wait"),
        ([other("starting", "2026-12-01T09:00:00.400Z"), other("draining")], "later"),
        ([other("starting", OWN.started)], "wait"),  # the ids decide
    ],
)
def test_an_engine_refuses_for_a_running_one_and_waits_for_one_that_ends(
    others: list[EngineInfo], decision: Decision
) -> None:
    assert decide(OWN, others) == decision


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_of_engines_that_start_together_exactly_one_goes_on(order: tuple[int, ...]) -> None:
    """Each sees those that answered before it asked; one that refuses is seen no more."""
    engines = [EngineInfo(INPUTS, str(n), state="starting", started="t") for n in range(3)]
    ahead = [decide(engines[n], [engines[m] for m in range(3) if m != n]) for n in order]
    assert sorted(ahead) == ["later", "later", "wait"]
    first = engines[order[ahead.index("wait")]]
    assert decide(first, []) == "alone"


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"[]", b"{}", b'{"endpoints": {}}', b"\xff", b'"text"'],
)
def test_what_is_no_answer_of_an_engine_is_ignored(data: bytes) -> None:
    assert EngineInfo.read(data) is None


@pytest.mark.parametrize(
    "metadata", [None, [], "text", {"name": 7, "state": [], "started": None}, {"state": "odd"}]
)
def test_an_engine_that_says_little_counts_as_running(metadata: object) -> None:
    subjects = [{"subject": "llm.request"}, {"subject": 7}, 7]
    found = EngineInfo.read(orjson.dumps({"endpoints": subjects, "metadata": metadata}))
    assert found == EngineInfo(frozenset({"llm.request"}))
    assert str(found) == "an engine that does not say its name"


def test_what_a_stranger_says_is_short_and_cannot_steer_a_terminal() -> None:
    evil = "\x1b[2J\n\u202eforged" + "x" * 5000
    metadata = dict.fromkeys(("name", "started", "host", "process"), evil)
    found = EngineInfo.read(
        orjson.dumps({"id": evil, "version": evil, "endpoints": [], "metadata": metadata})
    )
    assert str(found).isprintable()
    assert len(str(found)) < 500
