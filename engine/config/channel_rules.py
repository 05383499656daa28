"""Channel rules: settings for the channels whose id matches a pattern; the first match wins."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from engine.config import globs
from engine.config.safety_settings import RuleSafety
from providers.validation import Count, Temperature
from storage import persona_versions

MOST_KNOWN = 16_384
LONGEST_KNOWN = 256  # characters; ids of strangers may be long, and there may be many of them


@dataclass(frozen=True, kw_only=True)
class ChannelRule:
    """A `[[channels.rules]]` table. None leaves the choice to the settings for all channels.

    match: a pattern of channel ids: "*" stands for any text, also with "/", and "?" for one
        character. Case matters.
    persona: the persona of channels that never switched.
    hint: added to the persona's prompt, with the same placeholders.
    provider: who answers. Without `fallback_providers`, nobody else does.
    model, temperature, max_tokens: used if neither request nor persona has them.
    stream, status: whether `!chat` answers are streamed, and whether all senders hear where their
        request is.
    max_reply_chars: a longer answer is cut at a sentence, or divided with `parts`.
    stays: the only providers that may see what is said there.
    permissions: roles in place of those of `[permissions]`, by its keys.
    safety: what holds there in place of `[safety]`, by its keys.
    """

    match: str
    persona: str | None = None
    hint: str | None = None
    provider: str | None = None
    fallback_providers: tuple[str, ...] | None = None
    model: str | None = None
    temperature: Temperature | None = None
    max_tokens: Count | None = None
    max_context_messages: Count | None = None
    stream: bool | None = None
    status: bool | None = None
    max_reply_chars: Count | None = None
    parts: bool = False
    mailbox_limit_per_user: Count | None = None
    texts: str | None = None
    stays: tuple[str, ...] | None = None
    permissions: Mapping[str, str] = field(default_factory=dict)
    safety: RuleSafety | None = None

    @cached_property
    def hint_version(self) -> str | None:
        """The digest by which the history refers to the hint, with its placeholders."""
        return None if self.hint is None else persona_versions.version(self.hint)


NO_RULE = ChannelRule(match="")


class ChannelRules:
    """The rules in their order. What matched a channel is remembered: each message asks for it."""

    def __init__(self, rules: Iterable[ChannelRule]) -> None:
        self._rules = [(re.compile(globs.regex(rule.match), re.DOTALL), rule) for rule in rules]
        self._known: dict[str, ChannelRule] = {}

    def of(self, channel_id: str) -> ChannelRule:
        """Return the first rule that matches this channel, NO_RULE if none does."""
        if (known := self._known.get(channel_id)) is not None:
            return known
        found = (rule for pattern, rule in self._rules if pattern.fullmatch(channel_id))
        rule = next(found, NO_RULE)
        if len(channel_id) <= LONGEST_KNOWN:
            if len(self._known) >= MOST_KNOWN:
                self._known.clear()
            self._known[channel_id] = rule
        return rule


def is_never_used(match: str, earlier: str) -> bool:
    """Return whether every channel that matches `match` also matches an `earlier` pattern."""
    # The signs of the later pattern are taken as text: "*" of the earlier one covers all of them.
    return re.fullmatch(globs.regex(earlier, one="[^*]"), match, re.DOTALL) is not None
