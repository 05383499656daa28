"""What can go wrong with the store.

StorageError
├─ CannotOpen            at start: the path, the version; nothing was changed
│  └─ DatabaseInUse      at start: another engine has the file
└─ StorageUnavailable    now: full disk, locked file, read-only; nothing of the group was written
   └─ IndexDamaged       the search index is to be thrown away and built again
"""

from __future__ import annotations


class StorageError(Exception):
    """Base of all failures of the store; the text is a sentence for the operator."""


class CannotOpen(StorageError):
    """The database cannot be used at all until somebody does what the text says."""


class DatabaseInUse(CannotOpen):
    """Another engine answers from this file."""


class StorageUnavailable(StorageError):
    """A commit failed and was rolled back; the same write may be tried again later."""


class IndexDamaged(StorageUnavailable):
    """The search index cannot be read; it is a cache, and may be removed."""
