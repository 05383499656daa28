"""What is asked of the engine, and what becomes of it: nothing accepted may get lost."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import Metric

from engine.monitoring.metrics.families import counter, counters, gauge, histogram, histograms
from engine.monitoring.observation import Observation

EQUATION = (
    'rosey_llm_commands_total{result="accepted"} = sum(rosey_llm_turns_total)'
    " + rosey_llm_commands_waiting, at every scrape"
)


def families(observation: Observation) -> Iterator[Metric]:
    counts, supervisor = observation.counts, observation.supervisor
    yield counters(
        "commands",
        "Commands by what became of them: accepted (on disk, has its turn), at_once (a stop, which"
        " never waits), duplicate (sent again, gets the first one's outcome), busy, suspended,"
        f" invalid, unstored (the database failed). {EQUATION}.",
        ["result"],
        (([result], number) for result, number in counts.commands.items()),
    )
    yield counter(
        "commands_recovered",
        "Commands that an earlier process had accepted; accepted in this one, too.",
        counts.recovered_commands,
    )
    yield gauge(
        "commands_waiting",
        f"Accepted commands that wait or are being worked on, as the supervisor knows. {EQUATION}.",
        supervisor.waiting,
    )
    if observation.figures is not None and supervisor.recovered:
        yield gauge(
            "mailbox_rows",
            "The same as rosey_llm_commands_waiting, counted in the database; missing while that"
            " does not answer.",
            observation.figures.waiting,
        )
    yield from _turns(observation)


def _turns(observation: Observation) -> Iterator[Metric]:
    yield counters(
        "turns",
        "Accepted commands whose outcome is committed: answered, failed or cancelled; and the code"
        f" of llm.error. {EQUATION}.",
        ["outcome", "code"],
        (([*ending], ended.number) for ending, ended in observation.counts.turns.items()),
    )
    yield histograms(
        "turn_duration_seconds",
        "From the start of a turn to its committed outcome.",
        ["outcome"],
        (([outcome], seconds) for outcome, seconds in observation.counts.turn_seconds.items()),
    )
    yield histogram(
        "turn_wait_seconds",
        "From the arrival of a command to the start of its turn.",
        observation.counts.wait_seconds,
    )
