"""What somebody is told who is not the service's user."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.command_line import COMMAND
from tests.support.patience import WAIT_S

pytestmark = pytest.mark.process

# Root may read whatever it likes, unless it gives that up (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH).
POWERLESS = """
import ctypes, os, sys
for capability in (1, 2):
    ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""
READING = [
    ("history", "channels"),
    ("history", "verify"),
    ("history", "erase", "--user", "alice", "--yes"),
    ("backup", "copy.db"),
    ("audit", "--port", "0"),
]


@pytest.fixture
def folder(told: Path, tmp_path: Path) -> Iterator[Path]:
    """With a database; nothing runs there."""
    shutil.copytree(told, tmp_path, dirs_exist_ok=True)
    yield tmp_path
    (tmp_path / "data").chmod(0o700)


def powerless(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", POWERLESS, COMMAND, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
    )


@pytest.mark.parametrize("forbidden", ["data/rosey-llm.db", "data"])
@pytest.mark.parametrize("command", READING, ids=" ".join)
def test_a_database_that_may_not_be_read_is_said_with_what_to_do(
    folder: Path, command: tuple[str, ...], forbidden: str
) -> None:
    (folder / forbidden).chmod(0)
    done = powerless(folder, *command)
    assert (done.returncode, done.stdout) == (3, "")
    database = folder / "data" / "rosey-llm.db"
    assert done.stderr.splitlines()[-1].endswith(
        f": Cannot read {database}: Permission denied. Run this command as the service's user."
    )
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("forbidden", ["data/rosey-llm.db.http", "data"])
def test_top_does_not_say_that_nothing_runs_where_it_may_not_look(
    folder: Path, forbidden: str
) -> None:
    (folder / "data" / "rosey-llm.db.http").touch()
    (folder / forbidden).chmod(0)
    done = powerless(folder, "top")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"Error: Cannot read {folder}/data/rosey-llm.db.http: Permission denied. "
        "Run this command as the service's user, or give the service's address with --url.\n"
    )
