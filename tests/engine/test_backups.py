"""Copies of the database that the service makes by itself."""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from engine.config.settings import Settings, StorageSettings
from engine.operations import check
from engine.operations.backups import HOUR_S, RETRY_S, Backups
from storage import backup_folder, verification
from storage.queries.reader import reading
from tests.support.archive import Archive
from tests.support.command_line import COMMAND
from tests.support.full_disk import small_disk, small_disks_work
from tests.support.patience import until

pytestmark = pytest.mark.process
NOW_MS = 1_764_000_000_000
HOUR_MS = 3_600_000
# The child stands still before it syncs its copy: as deaf as one that copies a large file.
STOPS_IN_ITS_COPY = """
import os, signal, sys

def stop(event, args):
    if event == "open" and str(args[0]).endswith(".part") and not args[2] & os.O_CREAT:
        os.kill(os.getpid(), signal.SIGSTOP)

sys.addaudithook(stop)
"""
ODD_STAMPS = ["20261399T000000Z", "20250229T000000Z", "\u0662\u0660251124T160000Z"]


class Run:
    """A service's copies, on clocks that are set by hand."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.wall_ms, self.monotonic_s = NOW_MS, 1000.0
        self.settings = StorageSettings(backup_every_h=24, backup_keep=2)
        self.begin()

    def begin(self) -> None:
        """Begin as a new process."""
        self.backups = Backups(
            self.path,
            lambda: self.settings,
            wall_ms=lambda: self.wall_ms,
            monotonic_s=lambda: self.monotonic_s,
        )
        self.backups.look()

    def pass_hours(self, hours: float) -> None:
        self.wall_ms += round(hours * HOUR_MS)
        self.monotonic_s += hours * HOUR_S

    @property
    def files(self) -> list[Path]:
        return [each.file for each in backup_folder.backups(self.path)]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    archive = Archive(tmp_path / "rosey-llm.db")
    archive.say("Hello")
    archive.close()
    return Run(archive.path)


async def test_a_copy_is_complete_private_and_named_after_its_time(run: Run) -> None:
    await run.backups.make()
    (copy,) = run.files
    assert copy.name == "rosey-llm.db-20251124T160000Z"
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert stat.S_IMODE(copy.parent.stat().st_mode) == 0o700
    with reading(copy) as connection:
        verification.verify(connection)
        assert connection.execute("SELECT count(*) FROM history").fetchone()[0] == 2
    assert (run.backups.failing, run.backups.newest_ms) == ("", NOW_MS)


async def test_the_newest_are_kept_and_what_a_crash_left_is_deleted(run: Run) -> None:
    names = []
    for _ in range(3):
        (backup_folder.folder_of(run.path)).mkdir(exist_ok=True)
        (backup_folder.folder_of(run.path) / ".rosey-llm.db-x.4711.part").touch()
        await run.backups.make()
        names.append(run.files[-1])
        run.pass_hours(24)
    assert run.files == names[1:]
    assert sorted(backup_folder.folder_of(run.path).iterdir()) == names[1:]


async def test_a_new_process_goes_on_from_the_newest_copy(run: Run) -> None:
    assert run.backups.is_due()
    await run.backups.make()
    run.pass_hours(23)
    assert not run.backups.is_due()
    run.begin()
    assert not run.backups.is_due()
    run.pass_hours(1)
    assert run.backups.is_due()


@pytest.mark.parametrize("leap_h", [-10_000, 10_000])
async def test_a_leap_of_the_clock_makes_no_copy_and_stops_none(run: Run, leap_h: int) -> None:
    await run.backups.make()
    run.wall_ms += leap_h * HOUR_MS
    assert not run.backups.is_due()
    run.pass_hours(24)
    assert run.backups.is_due()
    # In a new process, a copy from the future says nothing.
    run.begin()
    assert run.backups.is_due()


async def test_a_copy_that_fails_is_told_once_and_tried_again(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "rosey_llm.backups")
    folder = backup_folder.folder_of(run.path)
    folder.write_text("in the way")
    for _ in range(2):
        await run.backups.make()
        assert not run.backups.is_due()
        run.pass_hours(RETRY_S / HOUR_S)
        assert run.backups.is_due()
    assert "File exists" in run.backups.failing
    folder.unlink()
    await run.backups.make()
    said = [record.getMessage().split(":")[0] for record in caplog.records]
    assert said == [
        "The database could not be backed up",
        "The database can be backed up again.",
        f"The database was backed up to {run.files[0]}.",
    ]


async def test_what_a_crash_left_is_deleted_before_a_copy_that_fails(run: Run) -> None:
    left = backup_folder.folder_of(run.path) / ".rosey-llm.db-x.4711.part"
    left.parent.mkdir()
    left.touch()  # it may have the room that the copy needs
    run.path.unlink()
    await run.backups.make()
    assert run.backups.failing
    assert not left.exists()


async def test_a_reason_that_names_the_copy_is_told_once(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    backup_folder.folder_of(run.path).mkdir()
    for _ in range(2):
        backup_folder.new_name(run.path, run.wall_ms).mkdir()  # in its way
        await run.backups.make()
        run.pass_hours(1)
    assert "directory" in run.backups.failing
    assert len(caplog.messages) == 1


async def test_an_engine_package_in_the_working_folder_is_not_taken_for_ours(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "engine").mkdir()
    (tmp_path / "engine" / "__init__.py").write_text("raise SystemExit('the engine of a game')")
    monkeypatch.chdir(tmp_path)
    await run.backups.make()
    assert run.backups.failing == ""


async def test_a_file_named_after_no_time_is_no_copy(run: Run) -> None:
    odd = [backup_folder.folder_of(run.path) / f"rosey-llm.db-{each}" for each in ODD_STAMPS]
    odd[0].parent.mkdir()
    for each in odd:
        each.touch()
    run.begin()
    await run.backups.make()
    assert run.backups.failing == ""
    assert len(run.files) == 1
    assert all(each.exists() for each in odd)
    storage = StorageSettings(path=str(run.path), backup_every_h=24)
    assert check.backup_notes(storage, NOW_MS) == []


async def test_without_room_a_copy_does_not_fill_the_disk(run: Run, tmp_path: Path) -> None:
    disk, size = tmp_path / "disk", run.path.stat().st_size
    if not small_disks_work(disk):
        pytest.skip("this machine allows no mounts in namespaces")
    command = f"{COMMAND} backup {disk}/copy.db --database {run.path}"
    process = await asyncio.create_subprocess_exec(
        *small_disk(disk, size // 2, command), stderr=asyncio.subprocess.PIPE
    )
    _, said = await process.communicate()
    assert process.returncode == 1
    assert "there is no room" in said.decode()


async def test_a_copy_that_is_broken_off_leaves_nothing(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text(STOPS_IN_ITS_COPY)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    folder = backup_folder.folder_of(run.path)
    making = asyncio.create_task(run.backups.make())
    await until(lambda: any(folder.glob(".*.part")))
    (part,) = folder.glob(".*.part")
    process = int(part.name.split(".")[-2])
    state = Path(f"/proc/{process}/stat")
    await until(lambda: state.read_text().rpartition(") ")[2].startswith("T"))
    making.cancel()
    with pytest.raises(asyncio.CancelledError):
        await making
    assert list(folder.iterdir()) == []
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)


async def test_a_changed_history_is_not_copied_and_the_older_copies_stay(run: Run) -> None:
    run.settings = StorageSettings(backup_every_h=24, backup_keep=1)
    await run.backups.make()
    kept = run.files
    run.pass_hours(24)
    with closing(sqlite3.connect(run.path, isolation_level=None)) as connection:
        connection.execute("UPDATE history SET content = 'Bye' WHERE id = 1")
    await run.backups.make()
    assert "The history was changed." in run.backups.failing
    assert run.files == kept


def test_none_are_made_unless_the_settings_say_so(tmp_path: Path) -> None:
    assert not Backups(tmp_path / "rosey-llm.db", StorageSettings).is_due()


async def test_check_names_a_newest_copy_that_is_too_old(run: Run) -> None:
    storage = StorageSettings(path=str(run.path), backup_every_h=24)
    assert check.backup_notes(storage, NOW_MS) == []
    await run.backups.make()
    assert check.backup_notes(storage, NOW_MS + 48 * HOUR_MS) == []
    (note,) = check.backup_notes(storage, NOW_MS + 49 * HOUR_MS)
    assert "is 49 hours old, and backup_every_h is 24" in note
    assert check.backup_notes(Settings().storage, NOW_MS) == []
