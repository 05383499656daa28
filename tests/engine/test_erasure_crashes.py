"""An erasure is cut off at every possible point, and finished afterwards."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from storage import mailboxes, verification
from storage.queries.reader import open_reader
from storage.verification import Seal, Verified
from tests.support import secrets_database
from tests.support.secrets_database import ROWS, SECRET, USER, files_containing

pytestmark = pytest.mark.process

ROOT = Path(__file__).parents[2]


def verified(path: Path, seal: Seal | None = None) -> Verified:
    with closing(open_reader(path)) as connection:
        return verification.verify(connection, seal)


def check_erased(path: Path, seal: Seal | None) -> None:
    assert files_containing(path.parent, SECRET, USER) == []
    found = verified(path, seal)
    assert found.erased == ROWS
    with closing(open_reader(path)) as connection:
        texts = connection.execute(
            "SELECT count(*) FROM history WHERE content <> '' AND kind <> 'erased'"
        ).fetchone()
        waiting = mailboxes.waiting(connection)
    assert texts[0] == ROWS
    assert [b"Erased" in row.body for row in waiting] == [True, False] * 3


def test_without_a_service_the_command_erases_everything_itself(tmp_path: Path) -> None:
    path = tmp_path / "rosey-llm.db"
    secrets_database.write_database(path)
    assert {name for name, _ in files_containing(tmp_path, SECRET)} == {
        "rosey-llm.db",
        "rosey-llm.db-search",
    }
    seal = verified(path).seal
    secrets_database.erase(path)
    check_erased(path, seal)


@pytest.mark.timeout(600)
def test_an_erasure_cut_off_anywhere_is_finished(tmp_path: Path) -> None:
    template, folder = tmp_path / "template", tmp_path / "points"
    secrets_database.write_database(template / "rosey-llm.db")
    seal = verified(template / "rosey-llm.db").seal
    subprocess.run(
        [sys.executable, "-m", secrets_database.__name__, str(template), str(folder)],
        cwd=ROOT,
        check=True,
        timeout=500,
    )
    *points, _whole = sorted(folder.iterdir(), key=lambda each: int(each.name))
    assert len(points) > 12
    for point in points:
        path = point / "rosey-llm.db"
        verified(path, seal)
        secrets_database.erase(path)
        check_erased(path, seal)
