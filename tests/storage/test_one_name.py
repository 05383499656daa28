"""A database file must have one name, or two processes would destroy it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from storage.errors import CannotOpen
from storage.examination import examine
from storage.one_name import require_one_name
from storage.writer.database import Database


async def test_a_service_refuses_a_file_with_a_hard_link(path: Path) -> None:
    database = Database(path)
    await database.open()
    await database.close()
    other = path.with_name("other.db")
    os.link(path, other)
    for name in (path, other):
        with pytest.raises(CannotOpen, match=r"has 2 names \(hard links\)"):
            await Database(name).open()
        with pytest.raises(CannotOpen, match="hard links"):
            examine(name)
    other.unlink()
    await database.open()
    await database.close()


def test_a_file_that_is_mounted_by_itself_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "a b.db"
    file.touch()
    mounts = tmp_path / "mountinfo"
    line = "36 35 98:0 /mnt {} rw,noatime master:1 - ext3 /dev/root rw\n"
    mounts.write_text(line.format(str(tmp_path).replace(" ", "\\040")))
    require_one_name(file, mounts)
    mounts.write_text(line.format(str(file).replace(" ", "\\040")))
    with pytest.raises(CannotOpen, match="Mount its folder"):
        require_one_name(file, mounts)


def test_a_system_without_a_list_of_mounts_has_none(tmp_path: Path) -> None:
    file = tmp_path / "a.db"
    require_one_name(file, tmp_path / "none")
    file.touch()
    require_one_name(file, tmp_path / "none")
