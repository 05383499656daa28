"""`rosey-llm model fetch`, as a user types it."""

from __future__ import annotations

import os
import pty
import re
import resource
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.config.loading import parse
from tests.fakes.file_server import MODEL, SUM, FileServer
from tests.support.command_line import COMMAND, rosey
from tests.support.patience import WAIT_S

pytestmark = pytest.mark.process

SCRIPTED = 'default_provider = "local"\n[storage]\npath = "stored/chat.db"\n'


@pytest.fixture
def server() -> Iterator[FileServer]:
    with FileServer.listening() as server:
        yield server


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
    settings = parse(tomllib.loads(SCRIPTED + lines), tmp_path)
    assert settings.providers["local"]["model_path"] == str(tmp_path / "stored/models/tiny.gguf")
    again = rosey(tmp_path, "model", "fetch", server.url, "--sha256", SUM)
    assert again.stdout.startswith("There already: ")
    assert len(server.asked) == 1


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


def test_a_full_disk_keeps_what_came(server: FileServer, tmp_path: Path) -> None:
    def little_room() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))

    done = subprocess.run(
        [COMMAND, "model", "fetch", server.url, "--sha256", SUM, "-o", "tiny.gguf"],
        cwd=tmp_path,
        preexec_fn=little_room,
        capture_output=True,
        text=True,
        timeout=WAIT_S,
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
        assert process.wait(timeout=WAIT_S) == 0
    os.close(leader)
    assert re.search(rb"tiny\.gguf .*1\.0 MB", shown_bytes)
