"""The observer that counts commands, turns, tokens and more since the process began.

Each event is counted in the event loop at the moment at which the engine learns of it, so that all
numbers read in one step of the loop are consistent. Only commits are counted in the database's
thread. The counts are plain numbers; they are rendered when a page is requested.
"""

from __future__ import annotations

from engine.accounting import scopes
from engine.admission.request_limits import SCOPES
from engine.commands.observer import CHECK_RESULTS, PassivationCause, SettledTurn, TurnObserver
from engine.commands.outcomes import Answer
from engine.commands.request import Request
from engine.errors import Cancelled, InvalidRequest
from engine.monitoring.bounded_dict import BoundedDict
from engine.monitoring.histogram import LONG_SECONDS, SECONDS, SIZES, Histogram
from storage.usage import Charge

MODELS_LIMIT = 100
PROVIDERS_LIMIT = 50
CODES_LIMIT = 50
LONGEST_LABEL = 100
OTHER = "other"
ANSWERED, CANCELLED = ("answered", ""), ("cancelled", "cancelled")


class TokenCount:
    """The tokens of one model, as far as its provider reports them; cached: of the prompts."""

    __slots__ = ("cached", "completion", "prompt")

    def __init__(self) -> None:
        self.prompt = 0
        self.cached = 0
        self.completion = 0


class Cost:
    """What one provider cost, in millionths of a dollar, as far as prices are known."""

    __slots__ = ("micro_usd",)

    def __init__(self) -> None:
        self.micro_usd = 0


class TurnCount:
    """The number of turns with the same outcome and code."""

    __slots__ = ("number",)

    def __init__(self) -> None:
        self.number = 0


class CommitCounts:
    """The commits of the database, counted in its own thread."""

    def __init__(self) -> None:
        self.writes = Histogram(SIZES)
        self.seconds = Histogram(SECONDS)
        self.failures = 0

    def note(self, writes: int, seconds: float, failed: bool) -> None:
        """Count a group of `writes` that was committed, or failed as a whole."""
        if failed:
            self.failures += 1
        else:
            self.writes.observe(writes)
            self.seconds.observe(seconds)


class Counts(TurnObserver):
    """The counts of one process; they only grow.

    commands: by result (`metrics/commands.py` explains the results).
    limits: the commands that a limit refused, by its name and scope.
    checks: of messages and answers by `[safety]`, by result.
    turns: by outcome (answered, failed, cancelled) and code.
    tokens: by provider and model.
    costs: by provider. unpriced: turns without a known price, by provider and model.
    model_seconds, first_piece_seconds: by provider.
    """

    def __init__(self) -> None:
        self.commands = dict.fromkeys(
            (
                *("accepted", "at_once", "busy", "duplicate", "invalid", "limit_reached"),
                *("not_allowed", "suspended", "unstored"),
            ),
            0,
        )
        self.limits = dict.fromkeys(SCOPES.items(), 0)
        self.recovered_commands = 0
        self.turns: BoundedDict[tuple[str, str], TurnCount] = BoundedDict(
            TurnCount, CODES_LIMIT, ("failed", OTHER)
        )
        for always_there in (ANSWERED, CANCELLED, ("failed", "internal")):
            self.turns[always_there].number = 0
        self.turn_seconds = {
            outcome: Histogram(LONG_SECONDS) for outcome in ("answered", "failed", "cancelled")
        }
        self.wait_seconds = Histogram(LONG_SECONDS)
        self.tokens: BoundedDict[tuple[str, str], TokenCount] = BoundedDict(
            TokenCount, MODELS_LIMIT, (OTHER, OTHER)
        )
        self.costs: BoundedDict[str, Cost] = BoundedDict(Cost, PROVIDERS_LIMIT, OTHER)
        self.unpriced: BoundedDict[tuple[str, str], TurnCount] = BoundedDict(
            TurnCount, MODELS_LIMIT, (OTHER, OTHER)
        )
        self.model_seconds = _by_provider()
        self.first_piece_seconds = _by_provider()
        self.checks = {
            (subject, result): 0
            for subject in ("message", "answer")
            for result in CHECK_RESULTS
            if (subject, result) != ("answer", "denied")
        }
        self.activations = 0
        self.passivations = dict.fromkeys(("idle", "limit", "drain"), 0)
        self.restarts = 0
        self.suspensions = 0
        self.commits = CommitCounts()
        self.loop_lag_seconds = Histogram(SECONDS)

    def accepted(self, request: Request, ahead: int) -> None:
        self.commands["accepted"] += 1

    def refused(self, channel_id: str, request_id: str, code: str) -> None:
        self.commands["invalid" if code == InvalidRequest.code else code] += 1

    def limited(self, limit: str, scope: str) -> None:
        self.limits[limit, scope] = self.limits.get((limit, scope), 0) + 1

    def unstored(self, channel_id: str, request_id: str) -> None:
        self.commands["unstored"] += 1

    def repeated(self, request: Request) -> None:
        self.commands["duplicate"] += 1

    def settled_at_once(self, request: Request) -> None:
        self.commands["at_once"] += 1

    def recovered(self, commands: int) -> None:
        self.recovered_commands += commands
        self.commands["accepted"] += commands

    def checked(self, subject: str, result: str) -> None:
        self.checks[subject, result] += 1

    def first_token(self, provider: str, after_s: float) -> None:
        self.first_piece_seconds[provider].observe(after_s)

    def settled(self, turn: SettledTurn) -> None:
        self.wait_seconds.observe(max(0, turn.started_ms - turn.accepted_ms) / 1000)
        outcome = turn.outcome
        if isinstance(outcome, Answer):
            ending = ANSWERED
            if outcome.provider is not None and outcome.latency_ms is not None:
                self._model_answered(outcome.provider, outcome)
        elif outcome.code == Cancelled.code:
            ending = CANCELLED
        else:
            ending = "failed", outcome.code[:LONGEST_LABEL]
        self.turns[ending].number += 1
        self.turn_seconds[ending[0]].observe(max(0, turn.settled_ms - turn.started_ms) / 1000)
        for charge in turn.charges:
            self._charged(charge)

    def crashed(self, channel_id: str) -> None:
        self.restarts += 1

    def suspended(self, channel_id: str) -> None:
        self.suspensions += 1

    def activated(self, channel_id: str) -> None:
        self.activations += 1

    def passivated(self, cause: PassivationCause, channels: int = 1) -> None:
        self.passivations[cause] += channels

    def committed(self, writes: int, seconds: float, failed: bool) -> None:
        self.commits.note(writes, seconds, failed)

    def _model_answered(self, provider: str, answer: Answer) -> None:
        self.model_seconds[provider].observe((answer.latency_ms or 0) / 1000)
        if answer.usage is not None:
            tokens = self.tokens[provider, (answer.model or "")[:LONGEST_LABEL]]
            tokens.prompt += answer.usage.prompt_tokens
            tokens.cached += answer.usage.cached_tokens
            tokens.completion += answer.usage.completion_tokens

    def _charged(self, charge: Charge) -> None:
        provider = scopes.name_of(charge.scopes, scopes.PROVIDER)
        if provider is None:
            return
        self.costs[provider].micro_usd += charge.micro_usd
        model = scopes.name_of(charge.scopes, scopes.MODEL) or ""
        self.unpriced[provider, model[:LONGEST_LABEL]].number += charge.unpriced


def _by_provider() -> BoundedDict[str, Histogram]:
    return BoundedDict(lambda: Histogram(LONG_SECONDS), PROVIDERS_LIMIT, OTHER)
