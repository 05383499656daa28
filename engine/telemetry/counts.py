"""What has happened since this process began, as plain numbers; rendered when somebody asks.

Everything here is counted in the event loop, at the very moment at which the engine learns of it,
so that whoever reads between two steps of the loop finds numbers that fit together. Only commits
are counted in the database's thread.
"""

from __future__ import annotations

from engine.commands.outcomes import Answer, Failure
from engine.telemetry.bounded import Bounded
from engine.telemetry.histogram import LONG_SECONDS, SECONDS, SIZES, Histogram

MODELS_LIMIT = 100
PROVIDERS_LIMIT = 50
CODES_LIMIT = 50
LONGEST_LABEL = 100
OTHER = "other"
ANSWERED, CANCELLED = ("answered", ""), ("cancelled", "cancelled")


class Tokens:
    """Of one model: what it was shown and what it wrote, as far as its provider tells."""

    __slots__ = ("completion", "prompt")

    def __init__(self) -> None:
        self.prompt = 0
        self.completion = 0


class Ended:
    """How many turns came to the same."""

    __slots__ = ("number",)

    def __init__(self) -> None:
        self.number = 0


class Commits:
    """Counted in the database's own thread."""

    def __init__(self) -> None:
        self.writes = Histogram(SIZES)
        self.seconds = Histogram(SECONDS)
        self.failures = 0

    def note(self, writes: int, seconds: float, failed: bool) -> None:
        """A group of `writes` was committed, or failed as a whole."""
        if failed:
            self.failures += 1
        else:
            self.writes.observe(writes)
            self.seconds.observe(seconds)


class Counts:
    """`commands` is by result (`metrics/commands.py` has their meaning), `turns` by outcome
    (answered, failed, cancelled) and code, `tokens` by provider and model, `model_seconds` and
    `first_piece_seconds` by provider.
    """

    def __init__(self) -> None:
        self.commands = dict.fromkeys(
            ("accepted", "at_once", "busy", "duplicate", "invalid", "suspended", "unstored"), 0
        )
        self.recovered = 0
        self.turns: Bounded[tuple[str, str], Ended] = Bounded(Ended, CODES_LIMIT, ("failed", OTHER))
        for none_yet in (ANSWERED, CANCELLED, ("failed", "internal")):
            self.turns[none_yet].number = 0
        self.turn_seconds = {
            outcome: Histogram(LONG_SECONDS) for outcome in ("answered", "failed", "cancelled")
        }
        self.wait_seconds = Histogram(LONG_SECONDS)
        self.tokens: Bounded[tuple[str, str], Tokens] = Bounded(
            Tokens, MODELS_LIMIT, (OTHER, OTHER)
        )
        self.model_seconds = _by_provider()
        self.first_piece_seconds = _by_provider()
        self.activations = 0
        self.passivations = dict.fromkeys(("idle", "limit", "drain"), 0)
        self.restarts = 0
        self.suspensions = 0
        self.commits = Commits()
        self.loop_lag_seconds = Histogram(SECONDS)

    def recover(self, commands: int) -> None:
        """An earlier run had accepted these; now they are ours."""
        self.recovered += commands
        self.commands["accepted"] += commands

    def turn_ended(self, outcome: Answer | Failure, wait_ms: int, took_ms: int) -> None:
        """A command that waited `wait_ms` has its committed outcome, `took_ms` after its start."""
        self.wait_seconds.observe(max(0, wait_ms) / 1000)
        if isinstance(outcome, Answer):
            ending = ANSWERED
            if outcome.provider is not None:
                self._model_answered(outcome.provider, outcome)
        elif outcome.code == "cancelled":
            ending = CANCELLED
        else:
            ending = "failed", outcome.code[:LONGEST_LABEL]
        self.turns[ending].number += 1
        self.turn_seconds[ending[0]].observe(max(0, took_ms) / 1000)

    def actor_crashed(self, *, suspended: bool) -> None:
        """It comes back by itself: after a short while, or after a rest where it is suspended."""
        self.restarts += 1
        self.suspensions += suspended

    def began(self, provider: str, seconds: float) -> None:
        """The first piece of a token stream came `seconds` after the question."""
        self.first_piece_seconds[provider].observe(seconds)

    def _model_answered(self, provider: str, answer: Answer) -> None:
        self.model_seconds[provider].observe((answer.latency_ms or 0) / 1000)
        if answer.usage is not None:
            tokens = self.tokens[provider, (answer.model or "")[:LONGEST_LABEL]]
            tokens.prompt += answer.usage.prompt_tokens
            tokens.completion += answer.usage.completion_tokens


def _by_provider() -> Bounded[str, Histogram]:
    return Bounded(lambda: Histogram(LONG_SECONDS), PROVIDERS_LIMIT, OTHER)
