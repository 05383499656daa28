"""Fetching a model's file, from servers that break off, lie, or have nothing."""

from __future__ import annotations

import fcntl
import hashlib
import os
import pty
import re
import resource
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from engine.config.loading import parse
from providers.local.addresses import AddressRefused, check_address, file_name, shown
from providers.local.download import Download, DownloadFailed, fetch
from tests.support.command_line import COMMAND, rosey

MODEL = b"GGUF" + bytes(range(256)) * 4000
SUM = hashlib.sha256(MODEL).hexdigest()


@dataclass
class FileServer:
    """A server of one file.

    breaks: after how many bytes each reply breaks off; later ones do not.
    statuses: what the next replies say in place of the file.
    piece: at most so many bytes are sent in reply to a request for a range.
    headers: sent with every reply.
    asked: the header Range of each request, "" if it has none.
    """

    content: bytes = MODEL
    ranges: bool = True
    length: int | str | None = None
    piece: int | None = None
    breaks: list[int] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    headers: Mapping[str, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/files/tiny.gguf"

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        asked = handler.headers.get("Range", "")
        self.asked.append(asked)
        if self.statuses:
            return self.refuse(handler, self.statuses.pop(0))
        begin = int(asked[6:-1]) if asked and self.ranges else 0
        if begin and begin >= len(self.content):
            return self.refuse(handler, 416, f"bytes */{len(self.content)}")
        handler.send_response(206 if begin else 200)
        if begin:
            end = min(begin + (self.piece or len(self.content)), len(self.content))
            span = f"bytes {begin}-{end - 1}/{len(self.content)}"
            handler.send_header("Content-Range", span)
        body = self.content[begin:end] if begin else self.content
        handler.send_header("Content-Length", str(self.length or len(body)))
        handler.end_headers()
        with suppress(ConnectionError):  # the client has seen enough
            handler.wfile.write(body[: self.breaks.pop(0) if self.breaks else None])
        handler.close_connection = True
        return None

    def refuse(self, handler: BaseHTTPRequestHandler, status: int, span: str = "") -> None:
        handler.send_response(status)
        handler.send_header("Content-Length", "0")
        if span:
            handler.send_header("Content-Range", span)
        for name, value in self.headers.items():
            handler.send_header(name, value)
        handler.end_headers()


@pytest.fixture
def server() -> Iterator[FileServer]:
    files = FileServer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            files.answer(self)

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        files.port = listening.server_port
        thread = threading.Thread(target=listening.serve_forever, args=(0.01,))
        thread.start()
        yield files
        listening.shutdown()
        thread.join()


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


@pytest.mark.parametrize(
    "url",
    [
        "http://models.example/x.gguf",
        "http://10.0.0.1/x.gguf",
        "http://127.0.0.1.models.example/x.gguf",
        "file:///etc/passwd",
        "models/x.gguf",
        "https://",
        "https://models.example/a b.gguf",
        "https://name:secret@models.example/x.gguf",
        "https://[::1",
    ],
)
def test_only_https_and_this_machine_may_be_named(url: str) -> None:
    with pytest.raises(AddressRefused) as refused:
        check_address(url)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    "url", ["https://models.example/x.gguf?key=1", "http://localhost:8/x", "http://[::1]:80/x"]
)
def test_https_and_this_machine_may_be_named(url: str) -> None:
    check_address(url)


def test_a_redirect_to_this_machine_is_refused() -> None:
    with pytest.raises(AddressRefused, match="which is on this machine"):
        check_address("http://127.0.0.1/x", redirected_from="https://models.example/x.gguf")


def test_an_address_is_shown_without_its_secrets() -> None:
    assert (
        shown("https://me:secret@h.example/a/x.gguf?key=secret#y") == "https://h.example/a/x.gguf"
    )


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://h.example/a/Tiny-Q4_1.gguf?download=true", "Tiny-Q4_1.gguf"),
        ("https://h.example/a%20b.gguf", "a b.gguf"),
        ("https://h.example/..%2F..%2Fx.gguf", "x.gguf"),
        ("https://h.example/.gguf", ""),
        ("https://h.example/model", ""),
        ("https://h.example/x.gguf/", ""),
    ],
)
def test_the_files_own_name_is_used_if_it_is_harmless(url: str, name: str) -> None:
    assert file_name(url) == name


# The command.

SCRIPTED = 'default_provider = "local"\n[storage]\npath = "stored/chat.db"\n'


@pytest.mark.process
def test_the_command_fetches_and_says_how_to_configure_it(
    server: FileServer, tmp_path: Path
) -> None:
    (tmp_path / "rosey-llm.toml").write_text(SCRIPTED)
    done = rosey(tmp_path, "model", "fetch", server.url, "--sha256", SUM.upper())
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "stored/models/tiny.gguf").read_bytes() == MODEL
    lines = done.stdout.split("\n\n")[1]
    assert lines == (
        '[providers.local]\nmodel_path = "stored/models/tiny.gguf"\ndefault_model = "tiny"\n'
    )
    (tmp_path / "rosey-llm.toml").write_text(SCRIPTED + lines)
    import tomllib

    settings = parse(tomllib.loads(SCRIPTED + lines), tmp_path)
    assert settings.providers["local"]["model_path"] == str(tmp_path / "stored/models/tiny.gguf")
    again = rosey(tmp_path, "model", "fetch", server.url, "--sha256", SUM)
    assert again.stdout.startswith("There already: ")
    assert len(server.asked) == 1


@pytest.mark.process
def test_the_command_says_what_is_wrong_with_its_arguments(tmp_path: Path) -> None:
    url = "https://models.example/model"
    for arguments, said in (
        ((url, "--sha256", "abc"), "expected 64 hexadecimal digits"),
        ((url,), "Missing option '--sha256'"),
        ((url, "--sha256", SUM), "name one with --output"),
        (("http://models.example/x.gguf", "--sha256", SUM), "Use the https:// address."),
    ):
        done = rosey(tmp_path, "model", "fetch", *arguments)
        assert done.returncode in (1, 2)
        assert said in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.process
def test_a_full_disk_keeps_what_came(server: FileServer, tmp_path: Path) -> None:
    def little_room() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))

    done = subprocess.run(
        [COMMAND, "model", "fetch", server.url, "--sha256", SUM, "-o", "tiny.gguf"],
        cwd=tmp_path,
        preexec_fn=little_room,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.endswith(
        "File too large. What came is kept there:"
        " make room, and type the same command again to go on.\n"
    )
    assert (tmp_path / f".{SUM}.part").stat().st_size == 400_000
    assert rosey(tmp_path, "model", "fetch", server.url, "--sha256", SUM, "-o", "tiny.gguf")
    assert server.asked == ["", "bytes=400000-"]
    assert (tmp_path / "tiny.gguf").read_bytes() == MODEL


@pytest.mark.process
def test_a_terminal_shows_a_bar(server: FileServer, tmp_path: Path) -> None:
    leader, follower = pty.openpty()
    with subprocess.Popen(
        [COMMAND, "model", "fetch", server.url, "--sha256", SUM, "-o", "tiny.gguf"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=follower,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "100"},
    ) as process:
        os.close(follower)
        shown_bytes = b""
        while True:
            try:
                shown_bytes += os.read(leader, 4096)
            except OSError:  # the other side is closed
                break
        assert process.wait(timeout=50) == 0
    os.close(leader)
    assert re.search(rb"tiny\.gguf .*1\.0 MB", shown_bytes)
