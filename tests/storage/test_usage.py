"""Tests of the sums of usage: what is charged together, read, and deleted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage import erasure, usage
from storage.erasure import Scope
from storage.usage import Charge, Sums
from tests.support.archive import Archive

scopes = st.lists(
    st.sampled_from(["*", "u:name alice", "u:id 1", "c:#a", "c:#b", "m:x"]), unique=True
)
charges = st.builds(Charge, scopes, st.integers(1, 3), *[st.integers(0, 10**6) for _ in usage.SUMS])


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    with closing(Archive(tmp_path / "rosey-llm.db")) as archive:
        yield archive


@settings(deadline=None, max_examples=60, database=None)
@given(st.lists(st.lists(charges, max_size=80), max_size=4))
def test_the_sums_are_those_of_all_charges(groups: list[list[Charge]]) -> None:
    with closing(Archive(Path(":memory:"))) as archive:
        expected: dict[tuple[str, int], list[int]] = {}
        for group in groups:
            usage.add(archive.connection, group)
            for charge in group:
                for scope in charge.scopes:
                    sums = expected.setdefault((scope, charge.day), [0] * len(usage.SUMS))
                    sums[:] = [one + more for one, more in zip(sums, charge[2:], strict=True)]
        rows = archive.connection.execute("SELECT * FROM usage").fetchall()
        assert {tuple(row[:2]): list(row[2:]) for row in rows} == expected


def fill(archive: Archive) -> None:
    for day in (10, 11):
        for number, user in enumerate(("name alice", "id 7", "name bob")):
            scopes = ("*", f"u:{user}", "c:#a")
            usage.add(archive.connection, [Charge(scopes, day, 1, 100, 0, 10, number * 5)])


def test_sums_are_read_by_kind_by_day_and_in_all(archive: Archive) -> None:
    fill(archive)
    found = usage.by_scope(archive.connection, "u:", 10, 11, 2)
    assert [(each.scope, each.requests, each.micro_usd) for each in found] == [
        ("u:name bob", 2, 20),
        ("u:id 7", 2, 10),
    ]
    assert [each.day for each in usage.by_day(archive.connection, "*", 0, 99)] == [10, 11]
    assert usage.total(archive.connection, "*", 11, 11) == Sums("*", 11, 3, 300, 0, 30, 15, 0, 0)
    assert usage.total(archive.connection, "*", 12, 99).requests == 0


@pytest.mark.parametrize(
    ("scope", "left"),
    [
        (Scope(user="ALICE"), ["u:id 7", "u:name bob"]),
        (Scope(user_id="7"), ["u:name alice", "u:name bob"]),
        (Scope(user="alice", channel="#a"), ["u:id 7", "u:name alice", "u:name bob"]),
        (Scope(channel="#a"), ["u:id 7", "u:name alice", "u:name bob"]),
    ],
)
def test_an_erased_user_is_deleted_and_the_totals_stay(
    archive: Archive, scope: Scope, left: list[str]
) -> None:
    fill(archive)
    remains = erasure.remains(archive.connection)
    erasure.erase_waiting(archive.connection, scope, b"erased")
    found = archive.connection.execute(
        "SELECT DISTINCT scope FROM usage WHERE scope LIKE 'u:%' ORDER BY scope"
    ).fetchall()
    assert [name for (name,) in found] == left
    assert (erasure.remains(archive.connection) > remains) == (len(left) < 3)
    assert usage.total(archive.connection, "*", 0, 99).requests == 6


def test_what_users_used_is_deleted_by_age(archive: Archive) -> None:
    fill(archive)
    assert usage.forget_users(archive.connection, 11)
    assert not usage.forget_users(archive.connection, 11)
    rows = archive.connection.execute("SELECT DISTINCT day FROM usage WHERE scope LIKE 'u:%'")
    assert rows.fetchall() == [(11,)]
    assert usage.total(archive.connection, "c:#a", 0, 99).requests == 6


def test_a_user_is_known_by_usage_alone(archive: Archive) -> None:
    fill(archive)
    assert erasure.knows_user(archive.connection, "Alice")
    assert erasure.knows_user_id(archive.connection, "7")
    assert not erasure.knows_user(archive.connection, "7")
