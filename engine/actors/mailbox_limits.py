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
    """How many commands may wait, how large they may be together, and what one sender may have.

    per_sender: commands that wait or are being carried out, so that nobody else waits for more
        turns of one sender.
    half: commands that wait.
    """

    commands: int
    size_bytes: int
    per_sender: int

    @property
    def half(self) -> int:
        return max(1, self.commands // 2)

    @classmethod
    def of(cls, settings: ChannelSettings, channel_id: str) -> MailboxLimits:
        """Return the limits of a channel."""
        rule = settings.rule_of(channel_id)
        per_sender = rule.mailbox_limit_per_user or settings.mailbox_limit_per_user
        return _shared(cls(settings.mailbox_limit, settings.mailbox_limit_bytes, per_sender))


@lru_cache(maxsize=64)
def _shared(limits: MailboxLimits) -> MailboxLimits:
    """Return one record for all that are equal: thousands of mailboxes have the same limits."""
    return limits
