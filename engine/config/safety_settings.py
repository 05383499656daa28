"""The settings of `[safety]`, and what a channel rule says instead."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Literal

from providers.validation import Seconds

OnFailure = Literal["refuse", "allow"]


@dataclass(frozen=True, kw_only=True)
class SafetySettings:
    """What may be said to the model and by it; by default everything may.

    deny: regular expressions; a message that one of them matches is refused.
    neutralise: mentions such as "@everyone" that no answer may contain as they are.
    moderation: the provider that judges messages and answers; "" for none.
    moderation_timeout_s: the longest wait for each of its judgements.
    on_failure: what becomes of a text that could not be checked.
    """

    deny: tuple[str, ...] = ()
    neutralise: tuple[str, ...] = ()
    moderation: str = ""
    moderation_model: str = "omni-moderation-latest"
    moderation_timeout_s: Seconds = 5.0
    on_failure: OnFailure = "refuse"

    def ruled(self, rule: RuleSafety | None) -> SafetySettings:
        """Return what holds in the channels of a rule."""
        if rule is None:
            return self
        given = {key: value for key, value in asdict(rule).items() if value is not None}
        return replace(self, **given)


@dataclass(frozen=True, kw_only=True)
class RuleSafety:
    """`safety` of a channel rule, by the keys of `[safety]`. None leaves the choice to those."""

    deny: tuple[str, ...] | None = None
    neutralise: tuple[str, ...] | None = None
    moderation: str | None = None
    moderation_model: str | None = None
    moderation_timeout_s: Seconds | None = None
    on_failure: OnFailure | None = None
