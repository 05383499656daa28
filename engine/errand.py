"""An order that is seen through: by the service that has the database, or here in its stead."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from typing import Any

from engine.orders import Handler, Orders
from storage import lock, orders
from storage.database import Database
from storage.errand import Errand
from storage.errors import DatabaseInUse

POLL_S = 0.1
# As long as nobody has the database, a service may be about to start again.
GRACE_S = 10.0
Say = Callable[[Mapping[str, Any]], object]
Doer = Callable[[Database], AbstractAsyncContextManager[Handler]]


def see_through(
    database: Path, kind: str, body: Mapping[str, Any], doer: Doer, say: Say
) -> Mapping[str, Any]:
    """The order's result. It stays until there is one: whoever is interrupted may ask again.

    `say` hears again and again what is left to do. Where no service has the database, or none any
    more, `doer` carries it out. Raises CannotOpen where the database cannot be used.
    """
    order_id, grace_s = None, 0.0
    while True:
        with Errand.place(database, kind, body, known=order_id) as errand:
            order_id = errand.order_id
            result = _wait(database, errand, say, grace_s)
        if result is not None:
            return result
        asyncio.run(_do(database, kind, order_id, doer, say))


def _wait(database: Path, errand: Errand, say: Say, grace_s: float) -> Mapping[str, Any] | None:
    """The result; None where nobody has the database, for as long as `grace_s`."""
    seen_s = time.monotonic()
    while (result := errand.look()) is None:
        say(errand.left_to_do())
        if lock.owner(database) is not None:
            seen_s, grace_s = time.monotonic(), GRACE_S
        elif time.monotonic() - seen_s >= grace_s:
            break
        time.sleep(POLL_S)
    return result


async def _do(path: Path, kind: str, order_id: int, doer: Doer, say: Say) -> None:
    """Carry it out as far as it can be done now; nothing where somebody has the database."""
    database = Database(path)
    try:
        await database.open()
    except DatabaseInUse:
        return
    look = partial(orders.left_to_do, order_id=order_id)
    try:
        async with doer(database) as handler:
            working = asyncio.create_task(Orders(database, {kind: handler}).catch_up(kind))
            while not working.done():
                await asyncio.wait({working}, timeout=POLL_S)
                say(await database.write(look))
            await working
    finally:
        await database.close()
