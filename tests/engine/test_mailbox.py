"""Tests of the mailbox: a queue with limits, in which waiting requests can be found and erased."""

from __future__ import annotations

import asyncio
from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.actors.mailbox import Acceptance, Envelope, Mailbox
from engine.commands.records import Chat, Erased
from engine.commands.request import Request
from engine.errors import Busy

LOOP = asyncio.new_event_loop()
LOOP.close()  # a mailbox does not use the futures
ACCEPTED: asyncio.Future[Acceptance] = asyncio.Future(loop=LOOP)


def envelope(request_id: str, size_bytes: int = 10, accepted_ms: int = 0) -> Envelope:
    request = Request("#lobby", request_id, "alice", Chat("Hello"))
    return Envelope(request, ACCEPTED, size_bytes, accepted_ms)


@given(st.lists(st.one_of(st.none(), st.integers(0, 99)), max_size=40))
def test_a_mailbox_is_a_queue(sizes: list[int | None]) -> None:
    """`sizes`: a number puts an envelope of that size, None takes one."""
    mailbox, model = Mailbox(100, 10_000), deque[Envelope]()
    for number, size_bytes in enumerate(sizes):
        if size_bytes is not None:
            model.append(envelope(f"r{number}", size_bytes, accepted_ms=number))
            mailbox.put(model[-1])
        elif model:
            assert mailbox.take() is model.popleft()
        assert len(mailbox) == len(model)
        mailbox.set_limits(100, sum(each.size_bytes for each in model) + 1)
        mailbox.check_room(1, float)
        if model:
            with pytest.raises(Busy):
                mailbox.check_room(2, float)
        assert mailbox.oldest_ms == (model[0].accepted_ms if model else None)
        ids = {each.request.request_id for each in model}
        assert all((f"r{n}" in mailbox) == (f"r{n}" in ids) for n in range(len(sizes)))


def test_nothing_can_be_taken_from_an_empty_mailbox() -> None:
    mailbox = Mailbox(1, 100)
    mailbox.put(envelope("r"))
    mailbox.take()
    with pytest.raises(IndexError):
        mailbox.take()


def test_two_mailboxes_share_no_envelopes() -> None:
    one, other = Mailbox(2, 100), Mailbox(2, 100)
    one.put(envelope("r"))
    assert [len(other), "r" in other, other.oldest_ms] == [0, False, None]


def test_a_full_mailbox_says_how_many_are_ahead() -> None:
    mailbox = Mailbox(2, 100)
    for request_id in ("r1", "r2"):
        mailbox.check_room(10, float)
        mailbox.put(envelope(request_id))
    with pytest.raises(Busy) as refused:
        mailbox.check_room(10, float)
    assert (refused.value.ahead, refused.value.retry_after_s) == (2, 2.0)


def test_a_large_command_fits_only_into_an_empty_mailbox() -> None:
    mailbox = Mailbox(10, 100)
    mailbox.check_room(1000, float)
    mailbox.put(envelope("r1", size_bytes=60))
    mailbox.check_room(40, float)
    with pytest.raises(Busy):
        mailbox.check_room(41, float)


def test_an_erased_request_keeps_its_place_and_nothing_else() -> None:
    mailbox = Mailbox(10, 100)
    for request_id in ("r1", "r2", "r3"):
        mailbox.put(envelope(request_id))
    mailbox.erase({"r2"})
    taken = [mailbox.take().request for _ in range(3)]
    assert [each.request_id for each in taken] == ["r1", "r2", "r3"]
    assert [each.command for each in taken] == [Chat("Hello"), Erased(), Chat("Hello")]
    assert taken[1].username == ""
