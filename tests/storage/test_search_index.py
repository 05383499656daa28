from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage import search_index
from storage.errors import IndexDamaged, StorageUnavailable
from storage.queries.search import search
from storage.queries.search_terms import to_match
from storage.queries.selection import Selection
from storage.search_index import SearchIndex, open_index, open_to_search, path_of
from tests.support.archive import Archive, copy

SECRET = "zanzibarquux"


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    with closing(Archive(tmp_path / "rosey-llm.db")) as archive:
        yield archive


def feed(index: SearchIndex, batch: int = 1000) -> SearchIndex:
    for _ in range(1000):
        if not index.feed(batch):
            return index
    raise AssertionError("there is no end of it")


def ids(index: SearchIndex, words: str, **asked: int | str) -> list[int]:
    selection = Selection(**asked)  # type: ignore[arg-type]
    return [hit.entry.id for hit in search(index, to_match(words), selection, 100, best=False)]


def found(archive: Archive, words: str) -> list[int]:
    with open_index(archive.path) as index:
        return ids(feed(index), words)


def bytes_of(path: Path) -> bytes:
    files = sorted(path.parent.glob(f"{path.name}*"))
    assert files
    return b"".join(file.read_bytes() for file in files)


def test_messages_are_found_newest_first_and_only_once(archive: Archive) -> None:
    archive.say("green tea", "Tea is green.")
    archive.say("black tea", "Is it?")
    with open_index(archive.path) as index:
        assert ids(feed(index, batch=1), "tea") == [3, 2, 1]
        assert ids(feed(index), "green tea") == [2, 1]
        archive.say("green again")
        assert index.behind == 2
        assert ids(feed(index), "green") == [5, 2, 1]
        assert index.behind == 0


def test_the_index_is_kept_and_continues_where_it_was(archive: Archive) -> None:
    archive.say("green tea")
    assert found(archive, "tea") == [1]
    archive.say("more tea")
    with open_index(archive.path) as index:
        assert index.behind == 2
        assert ids(index, "tea") == [1]


def test_the_index_is_its_owners_alone(archive: Archive) -> None:
    archive.say("green tea")
    with open_index(archive.path) as index:
        feed(index)
        for file in archive.path.parent.glob("*-search*"):
            assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_an_index_left_beside_another_database_is_not_trusted(
    archive: Archive, tmp_path: Path
) -> None:
    archive.say("green tea")
    assert found(archive, "tea") == [1]
    (tmp_path / "other").mkdir()
    with closing(Archive(tmp_path / "other" / "rosey-llm.db")) as other:
        other.say("coffee")
        path_of(other.path).write_bytes(path_of(archive.path).read_bytes())
        assert found(other, "tea") == []
        assert found(other, "coffee") == [1]


def test_an_index_that_is_ahead_of_a_restored_database_is_built_again(
    archive: Archive, tmp_path: Path
) -> None:
    archive.say("green tea")
    backup = copy(archive, tmp_path / "backup.db")
    archive.say("black coffee")
    assert found(archive, "coffee") == [3]
    os.replace(path_of(archive.path), path_of(backup))
    with open_index(backup) as index:
        assert ids(feed(index), "coffee") == []
        assert ids(index, "tea") == [1]


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b"not a database" * 500),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes()[:4096] + os.urandom(20_000)),
        lambda path: path.write_bytes(path.read_bytes()[:5000]),
        lambda path: _run(path, "UPDATE state SET version = 99"),
        lambda path: _run(path, "DELETE FROM state"),
        lambda path: _run(path, "DROP TABLE removed"),
        lambda path: _run(path, "DROP TABLE words_data"),
        lambda path: _run(path, "DELETE FROM words_config"),
    ],
)
def test_an_index_that_cannot_be_used_is_built_again(archive: Archive, damage: object) -> None:
    for _ in range(50):
        archive.say("green tea")
    assert len(found(archive, "tea")) == 50
    assert callable(damage)
    damage(path_of(archive.path))
    assert len(_found_at_last(archive)) == 50


def _found_at_last(archive: Archive) -> list[int]:
    """Open it as a search does: delete a damaged index and try again."""
    try:
        return found(archive, "tea")
    except IndexDamaged:
        search_index.remove(archive.path)
        return found(archive, "tea")


def _run(path: Path, sql: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA writable_schema=ON")
        connection.execute(sql)


def test_if_no_index_can_be_written_it_is_in_memory(archive: Archive, tmp_path: Path) -> None:
    archive.say("green tea")
    path_of(archive.path).mkdir()
    with pytest.raises(StorageUnavailable):
        open_index(archive.path)
    with open_to_search(archive.path) as index:
        assert index.in_memory
        assert ids(feed(index), "tea") == [1]


def test_a_file_that_is_no_database_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no database\n" * 1000)
    with pytest.raises(StorageUnavailable):
        open_to_search(tmp_path / "notes.txt")


def test_forgotten_rows_are_not_found_and_all_others_are(archive: Archive) -> None:
    archive.say(f"my {SECRET} tea", "Tea.")
    archive.say("more tea", f"No {SECRET}.")
    with open_index(archive.path) as index:
        feed(index, batch=3)
        index.forget([(1, f"my {SECRET} tea"), (4, f"No {SECRET}.")])
        index.forget([(1, f"my {SECRET} tea")])
        assert ids(index, "tea") == [3, 2]
        assert ids(feed(index), f"{SECRET} OR tea OR no") == []
        assert ids(index, SECRET) == []


def test_rows_that_are_forgotten_before_they_are_fed_never_are(archive: Archive) -> None:
    archive.say(f"my {SECRET}")
    with open_index(archive.path) as index:
        index.forget([(1, f"my {SECRET}")])
        assert ids(feed(index), SECRET) == []
        index.scrub()
        assert SECRET.encode() not in bytes_of(path_of(archive.path))


def test_an_erased_row_is_not_found_even_if_the_index_has_it(archive: Archive) -> None:
    archive.say(f"my {SECRET}")
    archive.say("other")
    assert found(archive, SECRET) == [1]
    archive.erase(1)
    assert found(archive, SECRET) == []
    path_of(archive.path).unlink()
    assert found(archive, "other") == [3]


@settings(deadline=None, max_examples=25, database=None)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=8), st.integers(1, 60), st.integers(0, 9))
def test_after_a_scrub_no_byte_of_a_forgotten_word_is_left(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], batch: int, keep: int
) -> None:
    """However the rows are spread over batches and over merges of the index."""
    path = tmp_path_factory.mktemp("scrub") / "rosey-llm.db"
    with closing(Archive(path)) as archive, open_index(path) as index:
        for number, size in enumerate(sizes):
            text = f"{SECRET}{number} " + " ".join(f"word{i % 97}" for i in range(size * 20))
            archive.say(text, f"About {SECRET}.")
            feed(index, batch)
        for number in range(keep):
            archive.say(f"kept{number}")
        assert SECRET.encode() in bytes_of(path_of(path))
        index.forget((row, text) for row, text in archive.contents() if SECRET in text)
        feed(index)
        index.scrub()
        assert SECRET.encode() not in bytes_of(path_of(path))
        assert SECRET.encode()[:8] not in bytes_of(path_of(path))
        assert ids(index, "word0") == []
        assert len(ids(index, "kept*")) == keep


def test_many_rows_leave_no_trace_either(archive: Archive) -> None:
    for number in range(600):
        archive.say(
            f"{SECRET}x{number} " + " ".join(f"w{(number * 7 + i) % 3000}" for i in range(60))
        )
    with open_index(archive.path) as index:
        feed(index, batch=64)
        index.forget((row, text) for row, text in archive.contents() if SECRET in text)
        index.scrub()
        assert SECRET.encode()[:7] not in bytes_of(path_of(archive.path))
        assert len(ids(index, "well")) == 100


def test_an_index_that_was_built_again_meanwhile_is_deleted_by_the_scrub(
    archive: Archive,
) -> None:
    archive.say(f"my {SECRET}")
    with open_index(archive.path) as index:
        feed(index)
        index.forget([(1, f"my {SECRET}")])
        search_index.remove(archive.path)
        assert found(archive, SECRET) == [1]
        archive.erase(1)
        index.scrub()
    assert not path_of(archive.path).exists()
    assert found(archive, SECRET) == []


def test_an_index_that_was_built_again_in_place_is_emptied_by_the_scrub(archive: Archive) -> None:
    archive.say(f"my {SECRET}")
    with open_index(archive.path) as index:
        feed(index)
        index.forget([(1, f"my {SECRET}")])
        _run(path_of(archive.path), "UPDATE state SET version = 99")
        assert found(archive, SECRET) == [1]
        archive.erase(1)
        index.scrub()
        assert SECRET.encode() not in bytes_of(path_of(archive.path))


def test_two_feeders_take_each_row_once(archive: Archive) -> None:
    for _ in range(30):
        archive.say("green tea")
    with open_index(archive.path) as one, open_index(archive.path) as two:
        for _ in range(100):
            if one.feed(3) + two.feed(4) == 0:
                break
        assert len(ids(one, "tea")) == len(ids(two, "tea")) == 30
        total = one.connection.execute("SELECT count(*) FROM words_docsize").fetchone()[0]
        assert total == 60


def test_the_database_is_never_written(archive: Archive) -> None:
    with open_index(archive.path) as index, pytest.raises(sqlite3.OperationalError):
        index.connection.execute("DELETE FROM live.history")


def test_a_database_has_one_index_however_it_is_reached(archive: Archive, tmp_path: Path) -> None:
    archive.say("green tea")
    assert found(archive, "tea") == [1]
    link = tmp_path / "link.db"
    link.symlink_to(archive.path)
    with open_index(link) as index:
        assert ids(index, "tea") == [1]
    assert not list(tmp_path.glob("link.db-*"))
