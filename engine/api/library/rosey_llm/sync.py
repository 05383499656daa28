"""The client library for bots that use threads.

>>> from rosey_llm.sync import Client
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine.client.sync import SyncClient as Client
    from engine.client.sync import SyncPieces as Pieces

_NAMES = {"Client": "SyncClient", "Pieces": "SyncPieces"}

__all__ = ["Client", "Pieces"]


if not TYPE_CHECKING:  # a type checker would take every misspelt name for Any

    def __getattr__(name: str) -> Any:
        if name not in _NAMES:
            raise AttributeError(f"module 'rosey_llm.sync' has no attribute {name!r}")
        from rosey_llm.isolation import import_ours

        value = getattr(import_ours("engine.client.sync"), _NAMES[name])
        globals()[name] = value
        return value
