from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.queries.search import search
from storage.queries.search_terms import to_match
from storage.queries.selection import Selection
from storage.search_index import SearchIndex, open_index
from tests.support.archive import Archive

TEXTS = [
    "What is Café au lait?",
    "foo-bar and baz",
    'He said "never again", then left.',
    "rock'n'roll OR jazz",
    "column:value NEAR there",
    "Здравствуй, мир",
    "C++ is not C",
]


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SearchIndex]:
    path: Path = tmp_path_factory.mktemp("words") / "rosey-llm.db"
    with closing(Archive(path)) as archive, open_index(path) as index:
        for text in TEXTS:
            archive.say(text, "")
        index.feed(1000)
        yield index


def found(index: SearchIndex, words: str) -> list[str]:
    hits = search(index, to_match(words), Selection(), 100, best=False)
    return [hit.entry.content for hit in hits]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("cafe", TEXTS[0]),
        ("CAFÉ lait", TEXTS[0]),
        ("foo-bar", TEXTS[1]),
        ("bar foo", TEXTS[1]),
        ('"never again"', TEXTS[2]),
        ('"never again', TEXTS[2]),
        ("nev*", TEXTS[2]),
        ('"said nev"*', TEXTS[2]),
        ("rock'n'roll", TEXTS[3]),
        ("OR", TEXTS[3]),
        ("column:value", TEXTS[4]),
        ("NEAR", TEXTS[4]),
        ("мир", TEXTS[5]),
        ("c++ not", TEXTS[6]),
        ("(jazz)", TEXTS[3]),
        ("^what", TEXTS[0]),
    ],
)
def test_words_are_plain_words(index: SearchIndex, words: str, text: str) -> None:
    assert found(index, words) == [text]


@pytest.mark.parametrize("words", ['"again never"', "neve", "bar-foo", "jazz tea", "content:foo"])
def test_words_find_nothing_else(index: SearchIndex, words: str) -> None:
    assert found(index, words) == []


@pytest.mark.parametrize("words", ["", "*", '""', "- + ( )", "👍", '"*"'])
def test_no_word_at_all_is_refused(words: str) -> None:
    with pytest.raises(ValueError, match="there is no word in it"):
        to_match(words)


@settings(deadline=None, max_examples=500, database=None)
@given(st.text(alphabet=st.sampled_from("ab\"*:-^(){}+'.,é\0 ORNEAR\n\u0300漢👍"), max_size=20))
def test_no_text_is_a_syntax_error(index: SearchIndex, words: str) -> None:
    try:
        match = to_match(words)
    except ValueError:
        return
    sql = "SELECT count(*) FROM words WHERE words MATCH ?"
    assert index.connection.execute(sql, (match,)).fetchone()[0] >= 0


def test_the_excerpt_marks_the_words_in_their_context(tmp_path: Path) -> None:
    far = "filler " * 100
    with closing(Archive(tmp_path / "a.db")) as archive, open_index(archive.path) as index:
        archive.say(f"{far}a Café \x02here\x03 {far}", "")
        index.feed(10)
        (hit,) = search(index, to_match("cafe"), Selection(), 10, best=False)
    assert [text for text, is_hit in hit.excerpt if is_hit] == ["Café"]
    whole = "".join(text for text, _ in hit.excerpt)
    assert "filler a Café here filler" in whole
    assert whole.startswith("…")
    assert len(whole.split()) < 40


def test_filters_and_limits_are_kept(tmp_path: Path) -> None:
    with closing(Archive(tmp_path / "a.db")) as archive, open_index(archive.path) as index:
        for number in range(20):
            channel, user = f"#{number % 2}", f"user{number % 3}"
            archive.say("green tea", "", user=user, channel=channel, ts_ms=number)
        index.feed(100)

        def asked(limit: int = 100, **selection: int | str) -> list[int]:
            chosen = Selection(**selection)  # type: ignore[arg-type]
            hits = search(index, to_match("tea"), chosen, limit, best=False)
            return [hit.entry.ts_ms for hit in hits]

        assert asked(3) == [19, 18, 17]
        assert asked(channel_id=archive.channel_id("#0")) == list(range(18, -1, -2))
        assert asked(username="USER0") == [18, 15, 12, 9, 6, 3, 0]
        assert asked(since_ms=5, until_ms=8) == [7, 6, 5]


def test_the_best_hits_come_first_if_requested(tmp_path: Path) -> None:
    with closing(Archive(tmp_path / "a.db")) as archive, open_index(archive.path) as index:
        archive.say("tea tea tea", "")
        archive.say("tea and much else that is not about it at all", "")
        index.feed(100)
        for best, first in ((False, 3), (True, 1)):
            hits = search(index, to_match("tea"), Selection(), 1, best=best)
            assert [hit.entry.id for hit in hits] == [first]


def test_the_newest_hits_of_a_common_word_are_found_without_reading_all(tmp_path: Path) -> None:
    """Return SQLite's own steps, so that no clock is needed."""
    taken = []
    for rows in (200, 2000):
        path = tmp_path / f"{rows}.db"
        with closing(Archive(path)) as archive, open_index(path) as index:
            archive.connection.execute("BEGIN")
            for _ in range(rows):
                archive.say("green tea", "")
            archive.connection.execute("COMMIT")
            index.feed(10_000)
            taken.append(_steps(index.connection, index))
    assert taken[1] < 1.5 * taken[0]


def _steps(connection: sqlite3.Connection, index: SearchIndex) -> int:
    steps = 0

    def step() -> None:
        nonlocal steps
        steps += 1

    connection.set_progress_handler(step, 1)
    assert len(search(index, to_match("tea"), Selection(), 20, best=False)) == 20
    connection.set_progress_handler(None, 1)
    return steps
