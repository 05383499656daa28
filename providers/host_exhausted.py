"""Finds out whether a call failed because this machine lacks something, such as file descriptors.

Such a failure says nothing about the provider.
"""

from __future__ import annotations

import errno
import os
import random
import socket
import ssl
from collections.abc import Iterator

from providers.errors import HostExhausted

RETRY_AFTER_S = 5.0
JITTER = 0.25

_FILES = (
    "file descriptors",
    "raise their limit (ulimit -n, or LimitNOFILE of the service), or lower max_concurrency",
)
_MEMORY = ("memory", "free some, or lower max_concurrency")
_PROCESSES = (
    "processes and threads",
    "raise their limit (ulimit -u, or TasksMax of the service)",
)
# What is lacking, and what to do.
_BY_ERRNO = {
    errno.EMFILE: _FILES,
    errno.ENFILE: ("file descriptors in the whole system", "raise fs.file-max"),
    errno.ENOMEM: _MEMORY,
    errno.ENOBUFS: ("network buffers", "free some memory, or lower max_concurrency"),
    errno.EADDRNOTAVAIL: (
        "local ports",
        "widen net.ipv4.ip_local_port_range, or lower max_concurrency",
    ),
    errno.EAGAIN: _PROCESSES,
}
_SPARE_FILES = 4
_LONGEST_CHAIN = 10


def host_exhausted(exc: BaseException, label: str) -> HostExhausted | None:
    """Return the error to raise for `exc`, if this machine is the cause of it, else None.

    label: the name of the provider that was called.
    """
    causes = list(_causes(exc))
    without_ipv6 = any(_is_ipv6(cause) for cause in causes)
    for cause in causes:
        if lacking := _lacking(cause, without_ipv6):
            what, remedy = lacking
            return HostExhausted(
                f"This machine has no free {what} for a call to {label}; {remedy}",
                # All calls fail at once, and must not all be made again at once.
                retry_after_s=round(RETRY_AFTER_S * (1 + JITTER * random.random()), 1),  # noqa: S311
            )
    return None


def _causes(exc: BaseException) -> Iterator[BaseException]:
    """Yield an exception and those behind it."""
    found: BaseException | None = exc
    for _ in range(_LONGEST_CHAIN):
        if found is None:
            return
        yield found
        if isinstance(found, BaseExceptionGroup):
            for member in found.exceptions:
                yield from _causes(member)
        found = found.__cause__ or found.__context__


def _lacking(exc: BaseException, without_ipv6: bool) -> tuple[str, str] | None:
    if isinstance(exc, MemoryError):
        return _MEMORY
    if isinstance(exc, RuntimeError):
        return _PROCESSES if "can't start new thread" in str(exc) else None
    if not isinstance(exc, OSError) or isinstance(exc, ssl.SSLError):  # the latter counts its own
        return None
    if isinstance(exc, socket.gaierror) or exc.errno in (errno.EBUSY, errno.EINVAL):
        # A name that cannot be looked up for lack of files may be reported as unknown, as busy, or
        # by an older error number: EAI_SYSTEM says that the system has one, and it sets none.
        return None if _has_spare_files() else _FILES
    if exc.errno is None:  # several addresses were tried, and each failed for another reason
        text = str(exc)
        return _FILES if os.strerror(errno.EMFILE) in text else None
    if exc.errno == errno.EADDRNOTAVAIL and without_ipv6:
        return None
    return _BY_ERRNO.get(exc.errno)


def _is_ipv6(exc: BaseException) -> bool:
    """Return whether an IPv6 address failed, as far as the error names it.

    Without IPv6, such an address gives EADDRNOTAVAIL, which is no lack of ports.
    """
    return ":" in str(getattr(exc, "host", "")) or "('::" in str(exc)


def _has_spare_files() -> bool:
    opened: list[int] = []
    try:
        opened += [os.open(os.devnull, os.O_RDONLY) for _ in range(_SPARE_FILES)]
    except OSError:
        return False
    finally:
        for descriptor in opened:
            os.close(descriptor)
    return True
