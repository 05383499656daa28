"""The limits of one channel's mailbox, and the places in it that are kept for control commands."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from engine.config.settings import ChannelSettings

# Places beyond the limits, for commands that ask no model: in a channel, for one sender of those,
# and in all channels together.
KEPT = 8
KEPT_FOR_ONE = KEPT // 2
KEPT_IN_ALL = 256


class MailboxLimits(NamedTuple):
    """How many commands may wait, how large they may be together, and how many one sender has."""

    commands: int
    size_bytes: int
    per_sender: int

    @classmethod
    def of(cls, settings: ChannelSettings, channel_id: str) -> MailboxLimits:
        """Return the limits of a channel. One sender has at most half of the places."""
        half = max(1, settings.mailbox_limit // 2)
        rule = settings.rule_of(channel_id)
        per_sender = min(rule.mailbox_limit_per_user or settings.mailbox_limit_per_user, half)
        return _shared(cls(settings.mailbox_limit, settings.mailbox_limit_bytes, per_sender))


@lru_cache(maxsize=64)
def _shared(limits: MailboxLimits) -> MailboxLimits:
    """Return one record for all that are equal: thousands of mailboxes have the same limits."""
    return limits
