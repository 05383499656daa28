"""The errors of the store.

StorageError
├─ CannotOpen            at start: wrong path or version; nothing was changed
│  └─ DatabaseInUse      at start: another engine uses the file
└─ StorageUnavailable    now: disk full, file locked or read-only; the group was not written
   └─ IndexDamaged       the search index must be deleted and built again
"""

from __future__ import annotations


class StorageError(Exception):
    """The base of all errors of the store; the text is a sentence for the operator."""


class CannotOpen(StorageError):
    """The database cannot be used until the operator does what the text says."""


class DatabaseInUse(CannotOpen):
    """Another process uses this file.

    by_command: it is a command of ours that ends by itself.
    is_ending: it is a service that drains, and frees the file soon.
    """

    def __init__(self, text: str, *, by_command: bool = False, is_ending: bool = False) -> None:
        super().__init__(text)
        self.by_command = by_command
        self.is_ending = is_ending


class StorageUnavailable(StorageError):
    """A commit failed and was rolled back; the same write may be tried again."""


class IndexDamaged(StorageUnavailable):
    """The search index cannot be read; it is a cache and may be deleted."""
