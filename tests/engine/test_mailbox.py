"""Tests of the mailbox: a queue with limits, in which waiting requests can be found and erased."""

from __future__ import annotations

import asyncio
from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.actors.mailbox import Acceptance, Envelope, Mailbox
from engine.actors.mailbox_limits import KEPT, KEPT_FOR_ONE, MailboxLimits
from engine.commands.records import CONTROL, Chat, Command, Erased, Reset
from engine.commands.request import Request
from engine.errors import Busy
from storage.mailboxes import Accepted

LOOP = asyncio.new_event_loop()
LOOP.close()  # a mailbox does not use the futures
ACCEPTED: asyncio.Future[Acceptance] = asyncio.Future(loop=LOOP)


def limits(commands: int, size_bytes: int, per_sender: int = 100) -> MailboxLimits:
    return MailboxLimits(commands, size_bytes, per_sender)


def envelope(request_id: str, size_bytes: int = 10, accepted_ms: int = 0) -> Envelope:
    request = Request("#lobby", request_id, "alice", Chat("Hello"))
    return Envelope(request, ACCEPTED, size_bytes, accepted_ms)


@given(st.lists(st.one_of(st.none(), st.integers(0, 99)), max_size=40))
def test_a_mailbox_is_a_queue(sizes: list[int | None]) -> None:
    """`sizes`: a number puts an envelope of that size, None takes one."""
    mailbox, model = Mailbox(limits(100, 10_000)), deque[Envelope]()
    for number, size_bytes in enumerate(sizes):
        if size_bytes is not None:
            model.append(envelope(f"r{number}", size_bytes, accepted_ms=number))
            mailbox.put(model[-1])
        elif model:
            assert mailbox.take() is model.popleft()
        assert len(mailbox) == len(model)
        mailbox.set_limits(limits(100, sum(each.size_bytes for each in model) + 1))
        mailbox.check_room(1, float)
        if model:
            with pytest.raises(Busy):
                mailbox.check_room(2, float)
        assert mailbox.oldest_ms == (model[0].accepted_ms if model else None)
        ids = {each.request.request_id for each in model}
        assert all((f"r{n}" in mailbox) == (f"r{n}" in ids) for n in range(len(sizes)))


def test_nothing_can_be_taken_from_an_empty_mailbox() -> None:
    mailbox = Mailbox(limits(1, 100))
    mailbox.put(envelope("r"))
    mailbox.take()
    with pytest.raises(IndexError):
        mailbox.take()


def test_two_mailboxes_share_no_envelopes() -> None:
    one, other = Mailbox(limits(2, 100)), Mailbox(limits(2, 100))
    one.put(envelope("r"))
    assert [len(other), "r" in other, other.oldest_ms] == [0, False, None]


def test_a_full_mailbox_says_how_many_are_ahead() -> None:
    mailbox = Mailbox(limits(2, 100))
    for request_id in ("r1", "r2"):
        mailbox.check_room(10, float)
        mailbox.put(envelope(request_id))
    with pytest.raises(Busy) as refused:
        mailbox.check_room(10, float)
    assert (refused.value.ahead, refused.value.retry_after_s) == (2, 2.0)


def test_a_large_command_fits_only_into_an_empty_mailbox() -> None:
    mailbox = Mailbox(limits(10, 100))
    mailbox.check_room(1000, float)
    mailbox.put(envelope("r1", size_bytes=60))
    mailbox.check_room(40, float)
    with pytest.raises(Busy):
        mailbox.check_room(41, float)


def test_an_erased_request_keeps_its_place_and_nothing_else() -> None:
    mailbox = Mailbox(limits(10, 100))
    for request_id in ("r1", "r2", "r3"):
        mailbox.put(envelope(request_id))
    mailbox.erase({"r2"})
    taken = [mailbox.take().request for _ in range(3)]
    assert [each.request_id for each in taken] == ["r1", "r2", "r3"]
    assert [each.command for each in taken] == [Chat("Hello"), Erased(), Chat("Hello")]
    assert taken[1].username == ""


def of(sender: str | None, request_id: str, command: Command) -> Envelope:
    request = Request("#lobby", request_id, sender or "User", command)
    return Envelope(request, ACCEPTED, 10, 0, sender=sender)


def admitted(mailbox: Mailbox, sender: str | None, request_id: str, command: Command) -> bool:
    """Put the command if there is a place for it."""
    try:
        mailbox.check_room(10, float, sender, is_control=isinstance(command, CONTROL))
    except Busy:
        return False
    mailbox.put(of(sender, request_id, command))
    return True


SENDERS = st.sampled_from(["ann", "bob", "dora", None])


@given(st.lists(st.tuples(SENDERS, st.sampled_from([Chat("Hi"), Chat("Hi"), Reset()]))))
def test_nobody_has_more_than_a_share_and_controls_have_places(
    told: list[tuple[str | None, Command]],
) -> None:
    mailbox, there = Mailbox(limits(6, 1000, 2)), list[tuple[str | None, Command]]()
    for number, (sender, command) in enumerate(told):
        own = [each for who, each in there if who == sender is not None]
        controls = sum(isinstance(each, Reset) for each in own)
        fits = len(there) < 6 and len(own) < 2
        if isinstance(command, Reset):
            fits = fits or (len(there) < 6 + KEPT and controls < KEPT_FOR_ONE)
        assert admitted(mailbox, sender, f"r{number}", command) == fits
        there += [(sender, command)] * fits


def test_what_runs_counts_in_the_share_of_its_sender() -> None:
    mailbox = Mailbox(limits(10, 1000, 2))
    mailbox.check_room(10, float, "ann", running="ann")
    mailbox.put(of("ann", "r1", Chat("Hi")))
    mailbox.check_room(10, float, "ann", running="bob")
    mailbox.check_room(10, float, "bob", running="ann")
    mailbox.check_room(10, float, None, running=None)
    with pytest.raises(Busy, match="You have 2 messages") as refused:
        mailbox.check_room(10, float, "ann", running="ann")
    assert refused.value.retry_after_s == 1.0  # until the running one has ended


def test_one_sender_has_at_most_half_of_the_places() -> None:
    mailbox = Mailbox(limits(4, 1000, 100))
    for request_id, sender in (("r1", "bob"), ("r2", "ann"), ("r3", "ann")):
        mailbox.check_room(10, float, sender, running="ann")
        mailbox.put(of(sender, request_id, Chat("Hi")))
    with pytest.raises(Busy, match=r"You have 2 messages .* may have 2") as refused:
        mailbox.check_room(10, float, "ann", running="ann")
    assert refused.value.retry_after_s == 2.0  # until the next one of hers is taken


def test_who_has_used_the_share_waits_for_the_end_of_the_first_of_its_own() -> None:
    mailbox = Mailbox(limits(10, 1000, 2))
    for request_id, sender in (("r1", "bob"), ("r2", "ann"), ("r3", "ann")):
        mailbox.put(of(sender, request_id, Chat("Hi")))
    with pytest.raises(Busy, match="You have 2 messages") as refused:
        mailbox.check_room(10, float, "ann")
    assert (refused.value.retry_after_s, refused.value.ahead) == (3.0, 3)


async def test_what_is_set_aside_keeps_its_place_and_is_not_taken() -> None:
    mailbox = Mailbox(limits(10, 1000))
    stored: asyncio.Future[Acceptance] = asyncio.get_running_loop().create_future()
    stored.set_result(Accepted(1))
    for request_id in ("r1", "r2", "r3"):
        mailbox.put(envelope(request_id)._replace(accepted=stored))
    mailbox.put(envelope("r4"))  # not known to be stored
    assert mailbox.set_aside(["r1", "r3", "r4", "r5"]) == {"r1", "r3"}
    assert not mailbox.set_aside(["r1"])
    ready = [mailbox.is_ready]
    mailbox.put_back(["r1"])
    assert [*ready, mailbox.is_ready] == [False, True]
    mailbox.remove_all(["r3"])
    assert [mailbox.take().request.request_id for _ in range(3)] == ["r1", "r2", "r4"]
