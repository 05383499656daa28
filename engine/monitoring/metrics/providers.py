"""Providers: their calls, circuits and slots, how fast they are, and the tokens they count."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import Metric

from engine.monitoring.metrics.families import counters, gauges, histograms
from engine.monitoring.observation import Observation

STATES = ("closed", "half_open", "open")


def families(observation: Observation) -> Iterator[Metric]:
    providers, name = observation.counters.items(), ["provider"]
    yield counters(
        "provider_calls",
        'Calls by how they ended: "ok", the code of an error, or "cut" where we ended it.',
        ["provider", "result"],
        (([p, result], n) for p, counts in providers for result, n in counts.calls.items()),
    )
    yield counters(
        "provider_retries",
        "Calls made again after a failure.",
        name,
        (([p], counts.retries) for p, counts in providers),
    )
    yield counters(
        "provider_fallbacks",
        "Answers that this provider gave in the place of one before it.",
        name,
        (([p], counts.fallbacks) for p, counts in providers),
    )
    yield counters(
        "provider_skips",
        "Questions not put to it because its circuit was open.",
        name,
        (([p], counts.skipped) for p, counts in providers),
    )
    yield counters(
        "provider_circuit_openings",
        "How often the circuit opened.",
        name,
        (([p], counts.opened) for p, counts in providers),
    )
    yield from _links(observation)
    yield from _answers(observation)


def _links(observation: Observation) -> Iterator[Metric]:
    links = observation.links.items()
    yield gauges(
        "provider_circuit_state",
        "1 for the state that the circuit is in: closed, half_open or open.",
        ["provider", "state"],
        (([p, each], float(link.circuit.state == each)) for p, link in links for each in STATES),
    )
    yield gauges(
        "provider_slots",
        "Calls that the provider gets at once (max_concurrency).",
        ["provider"],
        (([p], link.slots.limit) for p, link in links),
    )
    yield gauges(
        "provider_slots_running",
        "Calls being made.",
        ["provider"],
        (([p], link.slots.running) for p, link in links),
    )
    yield gauges(
        "provider_slots_waiting",
        "Calls that wait for a slot.",
        ["provider"],
        (([p], link.slots.waiting) for p, link in links),
    )


def _answers(observation: Observation) -> Iterator[Metric]:
    counts = observation.counts
    yield histograms(
        "answer_duration_seconds",
        "From the question to the whole answer, by who gave it; waits for a slot are in it.",
        ["provider"],
        (([p], seconds) for p, seconds in counts.model_seconds.items()),
    )
    yield histograms(
        "first_piece_seconds",
        "From the question to the first piece of an answer that is shown while it grows.",
        ["provider"],
        (([p], seconds) for p, seconds in counts.first_piece_seconds.items()),
    )
    yield counters(
        "tokens",
        "Tokens of answers, as their providers count them: the prompt's and the completion's."
        ' After 100 models the rest is "other".',
        ["provider", "model", "direction"],
        (
            ([p, model, direction], number)
            for (p, model), tokens in counts.tokens.items()
            for direction, number in (("prompt", tokens.prompt), ("completion", tokens.completion))
        ),
    )
