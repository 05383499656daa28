"""`rosey-llm audit` as a server: its port, the requests it answers, its headers and pages."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from urllib.parse import quote

import pytest

from providers.installation import install_command
from storage.migrations import migrate
from tests.support import audit_database
from tests.support.audit_database import GARDEN_TURNS, Answer, AuditPage
from tests.support.patience import WAIT_S

pytestmark = pytest.mark.process

OUR_PAGES = ["/", "/channel/1", "/turns", "/turn/1", "/search?q=soil", "/costs", "/nowhere"]
PAGES = [*OUR_PAGES, "/rosey-llm", "/rosey-llm/history", "/rosey-llm/history/1", "/-/versions"]
NAMES = ["Host", "Sec-Fetch-Site", "Sec-Fetch-Mode", "Sec-Fetch-Dest"]
# Not imported: to import Datasette leaves a connection open, which Python 3.13 complains of.
FIRST_PORT, PORTS = 8001, 50


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("audited")
    audit_database.write_files(folder)
    return folder


@pytest.fixture(scope="module")
def page(folder: Path) -> Iterator[AuditPage]:
    with audit_database.audit(folder) as page:
        page.enter()
        yield page


def sql(page: AuditPage, statement: str, more: str = "") -> Answer:
    return page.get(f"/rosey-llm.json?_shape=array{more}&sql={quote(statement)}")


@pytest.mark.parametrize("host", ["127.0.0.1:{}", "localhost:{}", "LOCALHOST", "[::1]:{}"])
def test_it_answers_under_the_names_of_this_machine(page: AuditPage, host: str) -> None:
    assert page.get("/", "HEAD", Host=host.format(page.port)).text == ""
    assert page.get("/", Host=host.format(page.port)).status == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:{}",
        "127.0.0.1.evil.example",
        "localhost.evil.example:{}",
        "evil.example#127.0.0.1",
        "192.168.0.1:{}",
        "0.0.0.0:{}",
        "",
    ],
)
@pytest.mark.parametrize("path", ["/", "/rosey-llm.json", "/audit-static/audit.css"])
def test_it_refuses_other_host_names(page: AuditPage, host: str, path: str) -> None:
    answer = page.get(path, Host=host.format(page.port))
    assert (answer.status, "This page is available only as" in answer.text) == (403, True)


def test_it_refuses_no_host_name_and_two(page: AuditPage) -> None:
    for hosts in (b"", b"Host: localhost\r\nHost: evil.example\r\n"):
        with socket.create_connection(("127.0.0.1", page.port), timeout=WAIT_S) as raw:
            raw.sendall(b"GET / HTTP/1.0\r\n" + hosts + b"\r\n")
            assert re.match(rb"HTTP/1\.\d (400|403) ", raw.recv(4096))


def test_no_other_site_can_ask_and_a_person_may_follow_a_link(page: AuditPage) -> None:
    asked = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "no-cors"}
    assert page.get("/rosey-llm.json?sql=select+1", **asked).status == 403
    framed = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate"}
    assert page.get("/", **framed, Sec_Fetch_Dest="iframe").status == 403
    assert page.get("/", **framed, Sec_Fetch_Dest="document").status == 200
    assert page.get("/", Sec_Fetch_Site="same-origin", Sec_Fetch_Mode="cors").status == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_it_is_read_only(page: AuditPage, method: str) -> None:
    for path in ("/", "/rosey-llm/history", "/-/logout"):
        assert page.get(path, method).status == 405


@pytest.mark.parametrize("path", PAGES)
def test_every_page_forbids_scripts_and_foreign_content(page: AuditPage, path: str) -> None:
    answer = page.get(path)
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; style-src 'self';")
    assert "script-src" not in policy
    assert "frame-ancestors 'none'" in policy
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    assert "set-cookie" not in answer.headers
    assert "<script" not in answer.text
    linked = re.findall(r"(?:src|href|action)=\"?(\w+:)?//([^\"/]+)", answer.text)
    assert {host for _, host in linked} <= {"datasette.io", f"127.0.0.1:{page.port}"}
    if path in OUR_PAGES:
        assert " style=" not in answer.text


def test_sql_of_a_visitor_reads_and_never_writes(folder: Path, page: AuditPage) -> None:
    assert json.loads(sql(page, "select count(*) as n from channel").text) == [{"n": 33}]
    before = (folder / "data/rosey-llm.db").read_bytes()
    for statement in (
        "delete from history",
        "with x as (select 1) delete from history",
        "update channel set name = 'x'",
        "attach 'other.db' as other",
        "pragma query_only = off",
        "vacuum into 'copy.db'",
        "explain delete from history; delete from history",
        "select load_extension('x')",
        "select writefile('x', 'y')",
        "select length(zeroblob(900000000))",
    ):
        assert sql(page, statement).status == 400, statement
    assert (folder / "data/rosey-llm.db").read_bytes() == before
    assert sorted(each.name for each in folder.glob("*.db")) == []


def test_endless_sql_is_stopped(page: AuditPage) -> None:
    endless = "with recursive n(i) as (select 1 union all select i + 1 from n) select max(i) from n"
    assert sql(page, endless, "&_timelimit=50").status == 400


def test_the_database_file_cannot_be_downloaded(page: AuditPage) -> None:
    assert page.get("/rosey-llm.db").status == 403
    assert page.get("/_internal").status == 403


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/channel/1?before=x", 400),
        ("/channel/1?at=-1", 400),
        ("/channel/1?after=99999999999999999999999999", 400),
        ("/channel/1?at=9223372036854775806", 200),
        ("/channel/1?before=9223372036854775808", 400),
        ("/?before=²", 400),
        ("/channel/0", 404),
        ("/channel/99999999999999999999999", 404),
        ("/channel/x", 404),
        ("/turn/999999", 404),
        ("/turns?kind=nothing&user=%00&channel=x", 200),
        ("/search?q=" + "x" * 3000, 200),
        ("/search?q=%00%ff%22%22*", 200),
        ("/search?n=-1&q=soil&order=odd", 200),
        ("/audit-static/../server.py", 404),
        ("/audit-static/%2e%2e/server.py", 404),
        ("/nowhere", 404),
        ("/nowhere.json", 404),
    ],
)
def test_an_odd_address_gets_an_answer_and_never_a_fault(
    page: AuditPage, path: str, status: int
) -> None:
    assert page.get(quote(path, safe="/?=&%*-")).status == status


def test_an_unknown_page_is_called_a_page(page: AuditPage) -> None:
    assert "There is no such page." in page.get("/nowhere").text


def test_a_channel_is_paged_to_its_beginning(page: AuditPage) -> None:
    shown: list[str] = []
    path = "/channel/1"
    for _ in range(20):
        text = page.get(path).text
        shown = re.findall(r'id="r(\d+)"', text) + shown
        older = re.search(r'href="(/channel/1\?before=\d+)', text)
        if older is None:
            break
        path = older[1]
    assert len(shown) == len(set(shown)) == 2 * GARDEN_TURNS
    assert shown == sorted(shown, key=int)


def test_the_list_of_channels_is_paged(page: AuditPage) -> None:
    listed: list[str] = []
    path = "/"
    for _ in range(10):
        text = page.get(path).text
        listed += re.findall(r'<td><a href="/channel/(\d+)#newest"', text)
        further = re.search(r'href="(/\?before=\d+)#channels">Less recent', text)
        if further is None:
            break
        path = further[1]
    assert sorted(map(int, listed)) == list(range(1, 34))


def test_without_a_port_it_takes_the_next_free_one(folder: Path) -> None:
    with ExitStack() as stack:
        held = False
        with suppress(OSError):  # the tests beside this one may have it
            stack.enter_context(socket.create_server(("127.0.0.1", FIRST_PORT)))
            held = True
        port = stack.enter_context(audit_database.audit(folder)).port
        assert FIRST_PORT + held <= port < FIRST_PORT + PORTS


def test_it_opens_the_browser(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = tmp_path / "opened"
    os.mkfifo(opened)
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > "{opened}"\n')
    browser.chmod(0o700)
    monkeypatch.setenv("BROWSER", str(browser))
    with audit_database.audit(folder, "--port", "0", "--open") as page:
        where = opened.read_text().rstrip("\n")
        assert where.startswith("file:///")  # its arguments are no secret of a process
        leading = Path(where.removeprefix("file://"))
        assert page.address in leading.read_text()
        assert (leading.stat().st_mode & 0o777, leading.parent.stat().st_mode & 0o777) == (
            0o600,
            0o700,
        )
    assert not leading.parent.exists()


def test_a_port_in_use_is_an_error(folder: Path, page: AuditPage) -> None:
    assert audit_database.audit_error(folder, "--port", str(page.port), path=[folder]) == (
        f"rosey-llm cannot start: Cannot use port {page.port}. Choose another with --port,"
        " or leave it out.\n"
    )


def test_a_copy_of_the_file_is_enough(folder: Path, tmp_path: Path) -> None:
    shutil.copy(folder / "data/rosey-llm.db", tmp_path / "a copy?#.db")
    with audit_database.audit(tmp_path, "--database", "a copy?#.db", "--port", "0") as page:
        page.enter()
        assert "#garden" in page.get("/").text
        assert "<mark>soil</mark>" in page.get("/search?q=soil").text


def test_an_empty_database_has_pages_too(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "new.db", isolation_level=None)) as database:
        migrate(database, "new.db")
    with audit_database.audit(tmp_path, "--database", "new.db", "--port", "0") as page:
        page.enter()
        assert "No messages yet." in page.get("/").text
        for path in ("/?period=month", "/turns", "/search?q=soil", "/rosey-llm/history"):
            assert page.get(path).status == 200


def test_a_missing_database_or_extra_is_named(folder: Path, tmp_path: Path) -> None:
    missing = audit_database.audit_error(tmp_path, "--database", "none.db")
    assert "There is no database at none.db." in missing
    (tmp_path / "text.db").write_text("Not a database, and long enough to be looked at. " * 9)
    assert "text.db" in audit_database.audit_error(tmp_path, "--database", "text.db")
    (tmp_path / "hidden/datasette").mkdir(parents=True)
    (tmp_path / "hidden/datasette/__init__.py").write_text(
        "raise ModuleNotFoundError('No module named datasette', name='datasette')"
    )
    said = audit_database.audit_error(
        folder, "--database", "data/rosey-llm.db", path=[tmp_path / "hidden"]
    )
    assert said == (
        f"rosey-llm cannot start: The audit page needs Datasette: {install_command('audit')}\n"
    )
