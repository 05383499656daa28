"""Every test runs in `make test` or in `make test-real`, never in both or in none."""

from __future__ import annotations

import itertools
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAKEFILE = (ROOT / "Makefile").read_text()
MARKS = ("real", "process", "browser", "slow")
COMBINATIONS = [
    marks for count in range(len(MARKS) + 1) for marks in itertools.combinations(MARKS, count)
]
# What makes a test a real one: a built wheel, an environment of its own, a cluster, a chaos run.
REAL = re.compile(
    r"^import venv|\"(pip|npm)\"|^from tests\.chaos\.run"
    r"|^from tests\.support\.nats_clusters|\bcluster \{",
    re.MULTILINE,
)


def expression(target: str) -> str:
    """Return which tests a target of the Makefile runs, as pytest's -m has it."""
    found = re.search(
        rf'^{target}: .*\n\t\$\(BIN\)/pytest .*-m ("[^"]+"|\S+)', MAKEFILE, re.MULTILINE
    )
    assert found, target
    return found[1].strip('"')


def name(marks: Sequence[str]) -> str:
    return "_".join(["test", *marks])


def collected(target: str, file: Path) -> set[str]:
    """Return the tests of the file that the target runs."""
    options = ["-c", "pyproject.toml", "--rootdir", str(file.parent), "-p", "no:cacheprovider"]
    options += ["-p", "tests.conftest", "--collect-only", "-q", "-m", expression(target)]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, file],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return set(re.findall(r"::(\w+)", done.stdout))


@pytest.mark.process
def test_each_test_runs_in_exactly_one_of_the_two(tmp_path: Path) -> None:
    file = tmp_path / "test_marks.py"
    source = "import pytest\n"
    for marks in COMBINATIONS:
        source += "".join(f"@pytest.mark.{mark}\n" for mark in marks)
        source += f"def {name(marks)}(): pass\n"
    file.write_text(source)
    assert collected("test-real", file) == {name(each) for each in COMBINATIONS if "real" in each}
    assert collected("test", file) == {name(each) for each in COMBINATIONS if "real" not in each}
    assert collected("test-fast", file) == {name([])}


def test_ci_runs_both() -> None:
    commands = (ROOT / ".ci" / "run").read_text().splitlines()
    assert [line for line in commands if line.startswith("make")] == [
        "make check",
        "make test",
        "make test-real",
    ]


@pytest.mark.parametrize(
    "file",
    [
        file
        for file in sorted((ROOT / "tests").rglob("test_*.py"))
        if file != Path(__file__) and REAL.search(file.read_text())
    ],
    ids=lambda file: file.name,
)
def test_what_needs_a_wheel_a_cluster_or_a_chaos_run_has_the_mark(file: Path) -> None:
    assert "pytest.mark.real" in file.read_text()


def test_there_are_real_tests_of_each_kind() -> None:
    marked = {
        file.name
        for file in (ROOT / "tests").rglob("test_*.py")
        if file != Path(__file__) and "pytest.mark.real" in file.read_text()
    }
    assert {"test_wheel.py", "test_chaos.py", "test_going_away.py"} <= marked
