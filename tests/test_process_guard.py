"""A fast run has no test that starts a process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.process

ROOT = Path(__file__).parents[1]
TESTS = """
import subprocess, sys
import pytest

def test_without_the_mark():
    subprocess.run([sys.executable, "--version"])

def test_that_starts_nothing():
    pass

@pytest.mark.process
def test_with_the_mark():
    raise AssertionError

def test_with_an_engine(house):
    raise AssertionError
"""


def test_a_fast_run_fails_a_test_that_starts_a_process_without_the_mark(tmp_path: Path) -> None:
    file = tmp_path / "test_four.py"
    file.write_text(TESTS)
    options = ["-c", "pyproject.toml", "--rootdir", str(tmp_path), "-p", "no:cacheprovider"]
    options += ["-p", "tests.conftest", "-m", "not process"]
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            *options,
            "-p",
            "tests.conftest",
            "-m",
            "not process",
            file,
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "2 passed, 2 deselected, 1 error" in done.stdout, done.stdout + done.stderr
    assert "Mark this test with pytest.mark.process: it started subprocess.Popen" in done.stdout
    assert "ERROR at teardown of test_without_the_mark" in done.stdout
