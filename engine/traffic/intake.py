"""The engine's subscriptions, which it makes again while the server refuses them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable

import nats.errors
from nats.aio.subscription import Subscription

from engine.traffic.nats_internals import Handler, IntakeClient
from engine.traffic.permissions import Permissions

log = logging.getLogger("rosey_llm.nats")
UNSUBSCRIBE_LIMIT_S = 5.0
# A server that reads its configuration again gives a permission without a new connection.
TRY_AGAIN_S = 5.0
ASK_AGAIN_S = 0.1


class Intake:
    """The subscriptions of one connection.

    handlers: by subject. services: the subjects among them that are subscribed to from the first
    connection to the end; the others are inputs.
    flush: returns when the server has taken all; raises if it is not there.
    hearing: set while the server lets the engine hear all its inputs.
    answered: set once the server of the present connection has said whether it does.
    """

    def __init__(self, permissions: Permissions, flush: Callable[[], Awaitable[None]]) -> None:
        self.handlers: dict[str, Handler] = {}
        self.services: set[str] = set()
        self.hearing = asyncio.Event()
        self.answered = asyncio.Event()
        self._permissions = permissions
        self._flush = flush
        self._client: IntakeClient | None = None
        self._subscriptions: dict[str, Subscription] = {}
        self._trying: asyncio.Task[None] | None = None

    @property
    def _inputs(self) -> list[str]:
        return [subject for subject in self.handlers if subject not in self.services]

    @property
    def _is_started(self) -> bool:
        return any(subject in self._subscriptions for subject in self._inputs)

    async def start_services(self, client: IntakeClient) -> None:
        """Subscribe to the services, if that is not done yet."""
        self._client = client
        await self._subscribe([each for each in self.services if each not in self._subscriptions])

    async def start(self, client: IntakeClient) -> None:
        """Subscribe to the inputs, if that is not done yet."""
        if self._is_started:
            return
        self._client = client
        self._permissions.attempt()
        await self._subscribe(self._inputs)
        await self._confirm()

    def lost(self) -> None:
        """Note that the connection is lost; nats-py subscribes again when it is back."""
        self.hearing.clear()
        self.answered.clear()
        self._permissions.attempt()

    def closed(self) -> None:
        """Note that the client was closed, so that its subscriptions are gone."""
        self.hearing.clear()
        self.answered.clear()
        self._subscriptions = {}

    def refused(self) -> None:
        """Try again soon, if the server refuses an input."""
        if self._permissions.refused_inputs:
            self.hearing.clear()
            self.confirm_soon()

    def confirm_soon(self) -> None:
        if self._trying is None or self._trying.done():
            self._trying = asyncio.create_task(self._try_again(), name="nats permissions")

    async def stop(self) -> None:
        """Unsubscribe the inputs. On return their handlers have all that the server had sent."""
        if self._trying is not None:
            self._trying.cancel()
            await asyncio.wait({self._trying})
        inputs = [self._subscriptions.pop(subject, None) for subject in self._inputs]
        for subscription in filter(None, inputs):
            with contextlib.suppress(nats.errors.Error, TimeoutError):
                async with asyncio.timeout(UNSUBSCRIBE_LIMIT_S):
                    await subscription.drain()  # type: ignore[no-untyped-call]

    async def _try_again(self) -> None:
        await self._confirm()
        while (refused := self._permissions.refused_inputs) and self._is_started:
            await asyncio.sleep(TRY_AGAIN_S)
            self._permissions.attempt()
            for subject in refused:
                with contextlib.suppress(nats.errors.Error, KeyError):
                    await self._subscriptions.pop(subject).unsubscribe()
            await self._subscribe(refused)
            await self._confirm()

    async def _subscribe(self, subjects: list[str]) -> None:
        assert self._client is not None  # noqa: S101 -- `start` has set it
        try:
            for subject in subjects:
                self._subscriptions[subject] = await self._client.start_intake(subject)
        except nats.errors.Error as exc:
            # nats-py keeps the subscriptions and sends them again after it has reconnected.
            log.debug(
                "NATS: subscribing was interrupted: %(error)s",
                {"event": "nats.subscribe_failed", "error": exc},
            )

    async def _confirm(self) -> None:
        """Find out whether the server lets the engine hear its inputs.

        A server that is slow to answer is asked again; after a loss, the next connection asks.
        """
        while True:
            try:
                await self._flush()
                break
            except ConnectionError as exc:
                log.debug(
                    "NATS: subscribing was interrupted: %(error)s",
                    {"event": "nats.subscribe_failed", "error": exc},
                )
            if self._client is None or not self._client.is_connected:
                return
            await asyncio.sleep(ASK_AGAIN_S)
        self.answered.set()
        if not self._permissions.refused_inputs and self._is_started:
            self.hearing.set()
