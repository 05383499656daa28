"""Orders of commands in other processes: seen in the database, carried out, answered there."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

from engine.clock import now_ms
from storage import orders
from storage.database import Database
from storage.errors import StorageUnavailable
from storage.orders import Order

log = logging.getLogger("rosey_llm.orders")
POLL_S = 0.25
KEEP_MS = 60 * 60 * 1000
Handler = Callable[[Order], Awaitable[Mapping[str, Any]]]


class OrderRefused(Exception):
    """An order that is not carried out; the text says why and what to do."""


class OrderNotYet(Exception):
    """An order that cannot be carried out now. It stays; those after it are not kept waiting."""


class Orders:
    """Carries out one order after the other. `handlers` has who does it, by the order's kind.

    What a handler returns is the order's result, with `ok` true; where it raises OrderRefused, `ok`
    is false and `error` says why. A handler may be called again for an order that a crash cut off,
    and is where it raises OrderNotYet.
    """

    def __init__(self, database: Database, handlers: Mapping[str, Handler]) -> None:
        self._database = database
        self._handlers = handlers

    async def run(self) -> None:
        """Look for orders until cancelled."""
        while True:
            try:
                for order in await self._database.write(orders.waiting):
                    await self.carry_out(order)
            except StorageUnavailable:
                log.debug("No orders while the database cannot be written.")
            await asyncio.sleep(POLL_S)

    async def catch_up(self, kind: str) -> None:
        """Carry out what waits of this kind, once, as far as it can be done now."""
        try:
            for order in await self._database.write(orders.waiting):
                if order.kind == kind:
                    await self.carry_out(order)
        except StorageUnavailable as exc:
            log.warning("An order has to wait: %s", exc)

    async def carry_out(self, order: Order) -> None:
        try:
            result = await self._result(order)
        except OrderNotYet as exc:
            log.debug("The order %r has to wait: %s", order.kind, exc)
            return
        now = now_ms()
        finish = partial(orders.finish, order_id=order.id, result=result, now_ms=now)
        await self._database.write(finish)
        await self._database.write(partial(orders.prune, before_ms=now - KEEP_MS))

    async def _result(self, order: Order) -> Mapping[str, Any]:
        handler = self._handlers.get(order.kind)
        if handler is None:
            error = (
                f'This service does not carry out the order "{order.kind}": it is of another '
                "version, or part of a program of its own."
            )
            return {"ok": False, "error": error}
        try:
            return {"ok": True, **await handler(order)}
        except OrderRefused as exc:
            return {"ok": False, "error": str(exc)}
        except (StorageUnavailable, OrderNotYet):
            raise  # it stays, and is tried again
        except Exception:  # the edge of the task: the next order must be carried out all the same
            log.exception("The order %r failed.", order.kind)
            return {"ok": False, "error": "The service failed at it; its log has the trace."}
