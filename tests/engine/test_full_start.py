"""A start on a full disk says what is full, where, and what to do; on a real small disk."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from storage.writer.database import Database
from tests.support.command_line import COMMAND, SCRIPTED
from tests.support.full_disk import small_disk, small_disks_work
from tests.support.patience import WAIT_S

pytestmark = pytest.mark.process
SHM_BYTES = 32 * 1024


@pytest.fixture(autouse=True)
def mounts(tmp_path: Path) -> None:
    if not small_disks_work(tmp_path / "data"):
        pytest.skip("this machine allows no mounts in namespaces")


@asynccontextmanager
async def started(
    folder: Path, size_bytes: int, before: str, nats: str = "nats"
) -> AsyncIterator[Path]:
    """Run the service with a small disk as its data folder; yield the file of its output."""
    command = small_disk(folder / "data", size_bytes, f"{before} exec {COMMAND} run")
    (folder / "rosey-llm.toml").write_text(f'{SCRIPTED}store_dir = "{nats}"\n')
    output = folder / "output"
    with output.open("w") as file:
        process = await asyncio.create_subprocess_exec(
            *command, cwd=folder, stdout=file, stderr=file
        )
    try:
        yield output
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()


async def line(output: Path, text: str) -> str:
    """Return the line of the output that contains this text, once it is there."""
    async with asyncio.timeout(WAIT_S):
        while True:
            for found in output.read_text().splitlines(keepends=True):
                if text in found and found.endswith("\n"):
                    return found
            await asyncio.sleep(0.05)


async def test_a_start_without_room_for_the_database_is_refused_with_what_to_do(
    tmp_path: Path,
) -> None:
    async with started(tmp_path, 64 * 1024, "") as output:
        said = await line(output, "cannot start")
    assert str(Path("data/rosey-llm.db")) in said
    assert "its disk is full" in said
    assert f"Free some space on the disk of {tmp_path / 'data'}, which has" in said
    assert "or set [storage] path" in said


async def test_a_start_that_can_read_but_not_write_says_so_before_it_is_ready(
    tmp_path: Path,
) -> None:
    database = Database(tmp_path / "rosey-llm.db")
    await database.open()
    await database.close()
    size = (tmp_path / "rosey-llm.db").stat().st_size + SHM_BYTES + 8192
    async with started(tmp_path, size, "cp rosey-llm.db data/ &&") as output:
        await line(output, "rosey-llm is ready")
        said = output.read_text()
    assert "Cannot write the database" in said
    assert said.index("Cannot write the database") < said.index("is ready")
    assert "Free some space on the disk of" in said


async def test_a_start_without_room_for_the_files_of_nats_is_refused_with_what_to_do(
    tmp_path: Path,
) -> None:
    config = '[storage]\npath = "rosey-llm.db"\n'
    before = f"printf '{config}' >> rosey-llm.toml && head -c 4096 /dev/zero > data/all &&"
    async with started(tmp_path, 4096, before, "data/nats") as output:
        said = await line(output, "cannot start")
    assert (
        f"the files of the embedded NATS server in {tmp_path / 'data' / 'nats'}: No space" in said
    )
    assert "Free some space there" in said
