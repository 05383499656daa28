"""Fetches a model's file: interrupted downloads go on, and only what has the right SHA-256 is kept.

What has come so far is in `.<sha256>.part` beside the file, so it is only ever continued with the
same content, also from another address. Runs for `rosey-llm model fetch`, outside of any loop.
"""

from __future__ import annotations

import fcntl
import hashlib
import http.client
import os
import re
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import IO, Any, BinaryIO, NamedTuple

from providers.local.addresses import check_address, is_loopback, shown
from providers.version import our_version

TRIES = 5
PAUSE_S = 2.0
_SILENCE_LIMIT_S = 60.0
_BLOCK_BYTES = 256 * 1024
_MAGIC = b"GGUF"
_SIZE = "[0-9]{1,24}"
_PASSING = (408, 425, 429, 500, 502, 503, 504)
Told = Callable[[int, int | None], None]


class DownloadFailed(Exception):
    """The file was not fetched. The message says why, and what to do."""


class _BrokeOff(Exception):
    """It may go on with another try. The message says what happened."""


class Download(NamedTuple):
    """What to fetch. sha256: 64 lower-case hexadecimal digits. target: where the file goes."""

    url: str
    sha256: str
    target: Path

    @property
    def part(self) -> Path:
        return self.target.with_name(f".{self.sha256}.part")


def fetch(wanted: Download, told: Told, *, tries: int = TRIES, pause_s: float = PAUSE_S) -> bool:
    """Fetch the file; return False if it was there already. Raises DownloadFailed, OSError.

    told: is called with the bytes that have come, and those of the whole file, if known.
    """
    check_address(wanted.url)
    if wanted.target.exists():
        if _sha256(wanted.target) == wanted.sha256:
            return False
        raise DownloadFailed(
            f"{wanted.target} exists, and its SHA-256 is another one."
            " Remove it, or choose another file with --output."
        )
    wanted.target.parent.mkdir(parents=True, exist_ok=True)
    with _locked_part(wanted.part) as part:
        _receive_all(wanted, part, told, tries, pause_s)
        found = _sha256(wanted.part)
        if found != wanted.sha256:
            wanted.part.unlink()
            raise DownloadFailed(
                f"{shown(wanted.url)} has another SHA-256 than --sha256 says: {found}."
                " What came was removed. Compare the sum with the one that the publisher shows."
            )
        os.fsync(part)
        wanted.part.replace(wanted.target)
        _sync_folder(wanted.target.parent)
    return True


def _receive_all(wanted: Download, part: BinaryIO, told: Told, tries: int, pause_s: float) -> None:
    for left in reversed(range(tries)):
        try:
            _receive(wanted, part, told)
            return
        except _BrokeOff as exc:
            if not left:
                have = os.fstat(part.fileno()).st_size
                raise DownloadFailed(
                    f"{shown(wanted.url)} {exc}. {have:,} bytes are kept:"
                    " type the same command again to go on."
                ) from exc
            time.sleep(pause_s)


def _receive(wanted: Download, part: BinaryIO, told: Told) -> None:
    """Ask for what is missing and append it. Raises _BrokeOff, DownloadFailed."""
    have = part.seek(0, os.SEEK_END)
    try:
        with _opened(wanted.url, have) as reply:
            if have and not _goes_on_at(reply, have):
                part.truncate(0)
                have = 0
            total = _whole_size(reply, have)
            _check_room(wanted.target.parent, total, have)
            told(have, total)
            while block := reply.read1(_BLOCK_BYTES):
                _append(part, block, wanted)
                have += len(block)
                told(have, total)
    except urllib.error.HTTPError as exc:
        _judge(exc, part, have, wanted.url)
    except (OSError, http.client.HTTPException) as exc:
        why = getattr(exc, "reason", None) or exc
        raise _BrokeOff(f"broke off ({why or type(exc).__name__})") from exc
    else:
        if total is not None and have < total:
            raise _BrokeOff(f"broke off after {have:,} of {total:,} bytes")
        if have < len(_MAGIC):
            raise DownloadFailed(f"{shown(wanted.url)} is no GGUF file: it has {have} bytes.")


def _judge(refusal: urllib.error.HTTPError, part: BinaryIO, have: int, url: str) -> None:
    """Decide what a refusal means; return if nothing is missing. Raises otherwise."""
    with refusal:
        status = refusal.code
        if status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and have:
            if refusal.headers.get("Content-Range", "").strip() == f"bytes */{have}":
                return
            part.truncate(0)
            raise _BrokeOff("does not go on where the download stopped")
    said = f"answers {status} {refusal.reason or ''}".strip()
    if status in _PASSING:
        raise _BrokeOff(said)
    hint = "Check the address"
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        hint = "It may want a login, which this command has not: fetch it with a browser, and set"
        hint += " model_path"
    raise DownloadFailed(f"{shown(url)} {said}. {hint}.")


def _whole_size(reply: http.client.HTTPResponse, have: int) -> int | None:
    """Return the size of the whole file; None if the server does not tell it.

    A server may send less than the rest that was asked for.
    """
    told = re.fullmatch(rf"bytes [0-9]+-[0-9]+/({_SIZE})", reply.headers.get("Content-Range", ""))
    if have and told is not None:
        return int(told[1])
    length = re.fullmatch(_SIZE, reply.headers.get("Content-Length", ""))
    return have + int(length[0]) if length is not None else None


def _goes_on_at(reply: http.client.HTTPResponse, have: int) -> bool:
    """Return whether the reply begins where we stopped; a server without ranges sends all."""
    begin = re.match(rf"bytes ({_SIZE})-", reply.headers.get("Content-Range", ""))
    if reply.status != HTTPStatus.PARTIAL_CONTENT or begin is None:
        return False
    return int(begin[1]) == have


def _append(part: BinaryIO, block: bytes, wanted: Download) -> None:
    try:
        rest = memoryview(block)
        while rest:
            rest = rest[part.write(rest) :]
        begin = os.pread(part.fileno(), len(_MAGIC), 0)
    except OSError as exc:
        raise DownloadFailed(
            f"Cannot write {wanted.part}: {exc.strerror}. What came is kept there:"
            " make room, and type the same command again to go on."
        ) from exc
    if not _MAGIC.startswith(begin):
        wanted.part.unlink()
        raise DownloadFailed(
            f"{shown(wanted.url)} is no GGUF file: it begins with {begin!r}."
            " Take the address of the file itself, not that of its page."
        )


def _check_room(folder: Path, total: int | None, have: int) -> None:
    free = shutil.disk_usage(folder).free
    if total is not None and total - have > free:
        raise DownloadFailed(
            f"{folder} has room for {free:,} bytes, and {total - have:,} are missing."
            " Make room, or choose another file with --output."
        )


def _opened(url: str, have: int) -> Any:
    """Return the reply with the bytes from `have` on."""
    headers = {"User-Agent": f"rosey-llm/{our_version()}", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    handlers: list[urllib.request.BaseHandler] = [_SafeRedirects()]
    if is_loopback(url):
        handlers.append(urllib.request.ProxyHandler({}))
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - check_address looked at it
    return urllib.request.build_opener(*handlers).open(request, timeout=_SILENCE_LIMIT_S)


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    """A handler that follows redirects only to addresses that may be named in the command, too."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        check_address(newurl, redirected_from=req.full_url)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


@contextmanager
def _locked_part(path: Path) -> Iterator[BinaryIO]:
    with path.open("a+b", buffering=0) as part:
        try:
            fcntl.flock(part, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DownloadFailed(
                f"Another process fetches this file into {path}. Wait until it has ended."
            ) from None
        yield part


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
