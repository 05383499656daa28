"""The metrics of providers: calls, circuits, slots, durations, tokens and costs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prometheus_client import Metric

from engine.monitoring.metrics.families import counters, gauges, histograms
from engine.monitoring.observation import Observation

STATES = ("closed", "half_open", "open")
MISCONFIGURED = ("provider_auth", "rate_limited", "model_not_found", "provider_error")


def families(observation: Observation) -> Iterator[Metric]:
    providers, name = observation.counters.items(), ["provider"]
    yield counters(
        "provider_calls",
        'Calls by result: "ok", the code of an error, or "cut" if the engine ended the call.',
        ["provider", "result"],
        (([p, result], n) for p, counts in providers for result, n in counts.calls.items()),
    )
    yield counters(
        "provider_retries",
        "Calls repeated after a failure.",
        name,
        (([p], counts.retries) for p, counts in providers),
    )
    yield counters(
        "provider_fallbacks",
        "Answers that this provider gave because those before it failed.",
        name,
        (([p], counts.fallbacks) for p, counts in providers),
    )
    yield counters(
        "provider_skips",
        "Calls not made because the provider's circuit was open.",
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
    yield from _costs(observation)


def _links(observation: Observation) -> Iterator[Metric]:
    links = observation.links.items()
    codes = [(p, link.misconfigured and link.misconfigured.code) for p, link in links]
    yield gauges(
        "provider_circuit_state",
        "1 for the circuit's current state (closed, half_open or open), 0 for the others.",
        ["provider", "state"],
        (([p, each], float(link.circuit.state == each)) for p, link in links for each in STATES),
    )
    yield gauges(
        "provider_misconfigured",
        "1 if a person must change the provider's configuration or its account, by the code that"
        " its calls fail with; 0 again when a call succeeds.",
        ["provider", "code"],
        (([p, code], float(code == wrong)) for p, wrong in codes for code in _codes(wrong)),
    )
    yield gauges(
        "provider_slots",
        "Calls that the provider may have at once (max_concurrency).",
        ["provider"],
        (([p], link.slots.limit) for p, link in links),
    )
    yield gauges(
        "provider_slots_running",
        "Calls in progress.",
        ["provider"],
        (([p], link.slots.running) for p, link in links),
    )
    yield gauges(
        "provider_slots_waiting",
        "Calls waiting for a slot.",
        ["provider"],
        (([p], link.slots.waiting) for p, link in links),
    )


def _codes(wrong: str | None) -> Iterable[str]:
    return dict.fromkeys((*MISCONFIGURED, wrong or MISCONFIGURED[0]))


def _answers(observation: Observation) -> Iterator[Metric]:
    counts = observation.counts
    yield histograms(
        "answer_duration_seconds",
        "Time from the question to the whole answer, waits for a slot included, by the"
        " provider that answered.",
        ["provider"],
        (([p], seconds) for p, seconds in counts.model_seconds.items()),
    )
    yield histograms(
        "first_piece_seconds",
        "Time from the question to the first piece of a streamed answer.",
        ["provider"],
        (([p], seconds) for p, seconds in counts.first_piece_seconds.items()),
    )
    yield counters(
        "tokens",
        "Tokens of prompts and completions, as counted by the providers."
        ' Models after the first 100 are counted as "other".',
        ["provider", "model", "direction"],
        (
            ([p, model, direction], number)
            for (p, model), tokens in counts.tokens.items()
            for direction, number in (("prompt", tokens.prompt), ("completion", tokens.completion))
        ),
    )
    yield counters(
        "cached_tokens",
        "Tokens of prompts, among those of rosey_llm_tokens_total, that the provider had in its"
        " cache, as it counted them.",
        ["provider", "model"],
        (([*which], tokens.cached) for which, tokens in counts.tokens.items()),
    )


def _costs(observation: Observation) -> Iterator[Metric]:
    yield counters(
        "cost_usd",
        "What turns cost in US dollars, as the provider said, or by its prices; estimated where"
        " the provider counted no tokens. Turns without a known price are not in it.",
        ["provider"],
        (([p], cost.micro_usd / 1e6) for p, cost in observation.counts.costs.items()),
    )
    yield counters(
        "unpriced_turns",
        "Turns that asked a model whose price is not known.",
        ["provider", "model"],
        (([*which], count.number) for which, count in observation.counts.unpriced.items()),
    )
