"""Who may see the audit page: the browser that opened its address first, and holders of the key."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import audit_database
from tests.support.audit_database import AuditPage

pytestmark = pytest.mark.process
PATHS = ["/", "/channel/1", "/turns", "/search?q=soil", "/rosey-llm/history", "/-/versions.json"]
PATHS += ["/rosey-llm.json?sql=select+1", "/audit-static/audit.css", "/nowhere"]
SECRETS = ("#garden", "soil", "loam")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("audited")
    audit_database.write_files(folder)
    return folder


@pytest.fixture
def page(folder: Path, tmp_path: Path) -> Iterator[AuditPage]:
    with audit_database.audit(folder, "--port", "0", "--key-file", str(tmp_path / "key")) as page:
        yield page


def is_refused(page: AuditPage, path: str, **headers: str) -> bool:
    answer = page.get(path, **headers)
    shown = answer.text + str(answer.headers)
    assert not any(secret in shown for secret in SECRETS)
    assert "set-cookie" not in answer.headers
    return answer.status == 403


def test_without_the_token_nothing_is_shown_and_it_says_what_to_do(page: AuditPage) -> None:
    for path in PATHS:
        assert is_refused(page, path), path
    asked = page.get("/")
    assert "the whole address that `rosey-llm audit` printed" in asked.text
    assert asked.headers["cache-control"] == "no-store"


def test_the_token_works_once_and_becomes_a_cookie_that_no_script_and_no_site_gets(
    page: AuditPage,
) -> None:
    entered = page.enter()
    assert entered.status == 200
    name, *rules = entered.headers["set-cookie"].split("; ")
    assert name.startswith("rosey-llm-audit-")
    assert set(rules) == {"Path=/", "HttpOnly", "SameSite=Strict"}
    assert 'content="0; url=/"' in entered.text
    assert "#garden" in page.get("/").text
    stranger = AuditPage(page.address)
    token = page.address.partition("/?")[2]
    assert is_refused(stranger, f"/?{token}")
    assert is_refused(stranger, f"/channel/1?{token}")
    said = stranger.get(f"/?{token}").text
    assert "works once" in said
    assert "start it again: it prints a new address" in said
    assert "#garden" in page.get(f"/?{token}").text  # the browser that has the cookie may


def test_a_page_of_ones_choice_can_be_the_first_one(page: AuditPage) -> None:
    token = page.address.partition("/?")[2]
    entered = page.get(f"/search?q=soil&{token}&x=%22%3E%3Cb%3E")
    assert 'url=/search?q=soil&amp;x=%22%3E%3Cb%3E"' in entered.text


def test_a_wrong_token_a_wrong_cookie_or_a_head_request_opens_nothing(page: AuditPage) -> None:
    token = page.address.partition("/?")[2]
    assert is_refused(page, "/?token=x")
    assert is_refused(page, f"/?{token}x")
    assert is_refused(page, "/", Authorization="Bearer x")
    assert page.get(f"/?{token}", "HEAD").status == 403
    evil = page.get(f"/?{token}", Host="evil.example")
    assert evil.status == 403
    page.enter()  # none of them has used it up
    name, _, key = page.cookie.partition("=")
    for cookie in (f"{name}=x", f"other={key}", name, ";;=;", f'{name}="{key}'):
        assert is_refused(page, "/", Cookie=cookie), cookie
    assert page.get("/", Cookie=f"other=1; {page.cookie}; more=2").status == 200


def test_a_program_sends_the_key_which_is_in_a_private_file_while_the_page_runs(
    folder: Path, tmp_path: Path
) -> None:
    file = tmp_path / "key"
    with audit_database.audit(folder, "--port", "0", "--key-file", str(file)) as page:
        assert file.stat().st_mode & 0o777 == 0o600
        right = {"Authorization": f"Bearer {file.read_text().strip()}"}
        answer = page.get("/rosey-llm.json?_shape=array&sql=select+name+from+channel", **right)
        assert "#garden" in answer.text
        assert "set-cookie" not in answer.headers
        page.enter()  # a program does not use the token up
        said = audit_database.audit_error(folder, "--key-file", str(file))
        assert f"Cannot write {file}: File exists. Remove it, or name another file." in said
    assert not file.exists()


def test_each_start_has_its_own_secrets(folder: Path) -> None:
    with (
        audit_database.audit(folder, "--port", "0") as one,
        audit_database.audit(folder, "--port", "0") as other,
    ):
        one.enter()
        other.enter()
        assert one.cookie.partition("=")[0] != other.cookie.partition("=")[0]
        assert is_refused(other, "/", Cookie=one.cookie)
        both = f"{one.cookie}; {other.cookie}"  # a browser sends a host's cookies to all its ports
        assert one.get("/", Cookie=both).status == other.get("/", Cookie=both).status == 200
