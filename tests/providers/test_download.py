"""Fetching a model's file, from servers that break off, lie, or have nothing."""

from __future__ import annotations

import fcntl
import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from providers.local.addresses import AddressRefused
from providers.local.download import Download, DownloadFailed, fetch
from tests.fakes.file_server import MODEL, SUM, FileServer


@pytest.fixture
def server() -> Iterator[FileServer]:
    with FileServer.listening() as server:
        yield server


@pytest.fixture
def wanted(server: FileServer, tmp_path: Path) -> Download:
    return Download(server.url, SUM, tmp_path / "models" / "tiny.gguf")


def get(wanted: Download, tries: int = 5) -> list[tuple[int, int | None]]:
    """Fetch the file without pauses; return what was told meanwhile."""
    told: list[tuple[int, int | None]] = []
    assert fetch(wanted, lambda have, total: told.append((have, total)), tries=tries, pause_s=0)
    assert wanted.target.read_bytes() == MODEL
    assert [file.name for file in wanted.target.parent.iterdir()] == ["tiny.gguf"]
    return told


def failed(wanted: Download, tries: int = 1) -> str:
    with pytest.raises(DownloadFailed) as failure:
        fetch(wanted, lambda have, total: None, tries=tries, pause_s=0)
    assert not wanted.target.exists()
    return str(failure.value)


def test_a_file_is_fetched_and_its_progress_is_told(server: FileServer, wanted: Download) -> None:
    told = get(wanted)
    assert told[0] == (0, len(MODEL))
    assert told[-1] == (len(MODEL), len(MODEL))
    assert [have for have, _ in told] == sorted(have for have, _ in told)
    assert server.asked == [""]


def test_what_broke_off_goes_on_where_it_stopped(server: FileServer, wanted: Download) -> None:
    server.breaks = [300_000, 400_000]
    get(wanted)
    assert server.asked == ["", "bytes=300000-", "bytes=700000-"]


def test_the_next_command_goes_on_where_the_last_one_stopped(
    server: FileServer, wanted: Download
) -> None:
    server.breaks = [500_000]
    said = failed(wanted)
    assert "broke off after 500,000 of 1,024,004 bytes. 500,000 bytes are kept" in said
    get(wanted)
    assert server.asked == ["", "bytes=500000-"]


def test_a_server_without_ranges_sends_all_again(server: FileServer, wanted: Download) -> None:
    server.ranges = False
    server.breaks = [500_000]
    get(wanted)
    assert server.asked == ["", "bytes=500000-"]


def test_a_server_that_sends_less_than_the_rest_is_asked_for_more(
    server: FileServer, wanted: Download
) -> None:
    server.breaks = [500_000]
    server.piece = 300_000
    get(wanted)
    assert server.asked == ["", "bytes=500000-", "bytes=800000-"]


@pytest.mark.parametrize("length", ["\xb2", "9" * 5000, "-1", "many"])
def test_a_length_that_is_no_number_is_none(
    server: FileServer, wanted: Download, length: str
) -> None:
    server.length = length
    assert get(wanted)[-1] == (len(MODEL), None)


def test_what_was_complete_but_not_yet_named_is_verified(
    server: FileServer, wanted: Download
) -> None:
    wanted.part.parent.mkdir()
    wanted.part.write_bytes(MODEL)
    get(wanted)
    assert server.asked == [f"bytes={len(MODEL)}-"]


def test_a_part_that_is_longer_than_the_file_is_fetched_again(
    server: FileServer, wanted: Download
) -> None:
    wanted.part.parent.mkdir()
    wanted.part.write_bytes(MODEL + b"more")
    get(wanted)
    assert server.asked == [f"bytes={len(MODEL) + 4}-", ""]


def test_wrong_bytes_are_removed_and_their_sum_is_told(
    server: FileServer, wanted: Download
) -> None:
    server.content = MODEL[:-1] + b"x"
    said = failed(wanted, 5)
    assert hashlib.sha256(server.content).hexdigest() in said
    assert server.asked == [""]
    assert not wanted.part.exists()
    server.content = MODEL
    get(wanted)


def test_a_damaged_part_is_noticed(server: FileServer, wanted: Download) -> None:
    wanted.part.parent.mkdir()
    wanted.part.write_bytes(MODEL[:1000] + b"x")
    assert "has another SHA-256" in failed(wanted)
    get(wanted)


@pytest.mark.parametrize("content", [b"<!DOCTYPE html><title>Model</title>", b"PK\3\4zip"])
def test_what_is_no_gguf_file_is_refused_at_once(
    server: FileServer, wanted: Download, content: bytes
) -> None:
    server.content = content
    said = failed(Download(wanted.url, hashlib.sha256(content).hexdigest(), wanted.target), 5)
    assert f"is no GGUF file: it begins with {content[:4]!r}" in said
    assert server.asked == [""]
    assert not list(wanted.target.parent.iterdir())


@pytest.mark.parametrize(
    ("status", "said"),
    [(404, "answers 404 Not Found. Check the address."), (403, "403 Forbidden. It may want a lo")],
)
def test_a_refusal_is_told_and_not_repeated(
    server: FileServer, wanted: Download, status: int, said: str
) -> None:
    server.statuses = [status] * 5
    assert said in failed(wanted, 5)
    assert len(server.asked) == 1


def test_a_server_that_is_busy_is_asked_again(server: FileServer, wanted: Download) -> None:
    server.statuses = [503, 429]
    get(wanted)
    server.statuses = [503] * 9
    other = Download(wanted.url, SUM, wanted.target.with_name("other.gguf"))
    assert "answers 503 Service Unavailable. 0 bytes are kept" in failed(other, 3)
    assert len(server.statuses) == 6


def test_a_server_that_is_gone_is_named(wanted: Download) -> None:
    away = wanted._replace(url="http://127.0.0.1:1/tiny.gguf")
    assert "http://127.0.0.1:1/tiny.gguf broke off ([Errno 111] Conn" in failed(away, 2)


def test_more_than_the_disk_has_room_for_is_refused_before_it_comes(
    server: FileServer, wanted: Download
) -> None:
    server.length = 10**18
    assert "1,000,000,000,000,000,000 are missing. Make room" in failed(wanted, 5)
    assert len(server.asked) == 1


def test_a_file_that_is_there_is_not_fetched_again(server: FileServer, wanted: Download) -> None:
    get(wanted)
    assert not fetch(wanted, lambda have, total: None)
    assert len(server.asked) == 1
    other = wanted._replace(sha256="0" * 64)
    with pytest.raises(DownloadFailed, match=r"tiny.gguf exists, and its SHA-256 is another one"):
        fetch(other, lambda have, total: None)
    assert wanted.target.read_bytes() == MODEL


def test_two_processes_do_not_write_into_one_part(wanted: Download) -> None:
    wanted.part.parent.mkdir()
    with wanted.part.open("wb") as part:
        fcntl.flock(part, fcntl.LOCK_EX)
        assert "Another process fetches this file" in failed(wanted)


@pytest.mark.parametrize(
    "target", ["http://models.example/x.gguf", "file:///etc/passwd", "ftp://models.example/x"]
)
def test_a_redirect_leads_only_where_the_command_may_go(
    server: FileServer, wanted: Download, target: str
) -> None:
    server.statuses = [302]
    server.headers = {"Location": target}
    with pytest.raises((AddressRefused, DownloadFailed)):
        fetch(wanted, lambda have, total: None, tries=5, pause_s=0)
    assert len(server.asked) == 1


def test_a_redirect_is_followed_with_the_range(server: FileServer, wanted: Download) -> None:
    server.breaks = [500_000]
    failed(wanted)
    server.statuses = [302]
    server.headers = {"Location": server.url}
    get(wanted)
    assert server.asked[1:] == ["bytes=500000-", "bytes=500000-"]
