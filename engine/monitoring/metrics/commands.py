"""The metrics of commands and turns, and the equation that shows that no command is lost."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import Metric

from engine.monitoring.metrics.families import (
    counter,
    counters,
    gauge,
    gauges,
    histogram,
    histograms,
)
from engine.monitoring.observation import Observation

EQUATION = (
    'rosey_llm_commands_total{result="accepted"} = sum(rosey_llm_turns_total)'
    " + rosey_llm_commands_waiting, at every scrape"
)


def families(observation: Observation) -> Iterator[Metric]:
    counts, supervisor = observation.counts, observation.supervisor
    yield counters(
        "commands",
        "Commands by result: accepted (stored, gets a turn), at_once (a stop, which never waits),"
        " duplicate (sent again, gets the outcome of the first), busy, suspended, invalid,"
        f" not_allowed, limit_reached, unstored (the database failed). {EQUATION}.",
        ["result"],
        (([result], number) for result, number in counts.commands.items()),
    )
    yield counters(
        "limited",
        "Commands that a limit of [limits] or a budget of [budgets] refused, by its name and whose"
        " it is.",
        ["limit", "scope"],
        (([*which], number) for which, number in counts.limits.items()),
    )
    yield gauges(
        "budget_ratio",
        "The used part of each budget of [budgets] of all together, of a persona or of a provider,"
        " with what running turns have reserved.",
        ["budget"],
        (([key], ratio) for key, ratio in observation.budgets.items()),
    )
    yield counter(
        "commands_recovered",
        "Commands that an earlier process accepted and this one continues; they count as accepted.",
        counts.recovered_commands,
    )
    yield gauge(
        "commands_waiting",
        f"Accepted commands that wait or run, counted by the supervisor. {EQUATION}.",
        supervisor.waiting,
    )
    if observation.figures is not None and supervisor.recovered:
        yield gauge(
            "mailbox_rows",
            "The same as rosey_llm_commands_waiting, counted in the database; missing while the"
            " database does not answer.",
            observation.figures.waiting,
        )
    yield from _turns(observation)


def _turns(observation: Observation) -> Iterator[Metric]:
    yield counters(
        "turns",
        "Accepted commands whose outcome is committed, by outcome (answered, failed or cancelled)"
        f" and the code of llm.error. {EQUATION}.",
        ["outcome", "code"],
        (([*ending], ended.number) for ending, ended in observation.counts.turns.items()),
    )
    yield counters(
        "safety_checks",
        "Checks of messages and answers by [safety], by result: passed, denied (a pattern of deny),"
        " flagged (by the moderation), unchecked (the check did not end).",
        ["checked", "result"],
        (([*which], number) for which, number in observation.counts.checks.items()),
    )
    yield histograms(
        "turn_duration_seconds",
        "Time from the start of a turn to its committed outcome.",
        ["outcome"],
        (([outcome], seconds) for outcome, seconds in observation.counts.turn_seconds.items()),
    )
    yield histogram(
        "turn_wait_seconds",
        "Time from the acceptance of a command to the start of its turn.",
        observation.counts.wait_seconds,
    )
