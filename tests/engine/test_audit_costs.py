"""The costs page of the audit page, over HTTP: its periods, keys, marks, links and JSON."""

from __future__ import annotations

import html
import json
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from engine.accounting.days import EPOCH
from storage import usage
from storage.usage import Charge
from tests.support import audit_database
from tests.support.audit_database import Answer, AuditPage
from tests.support.command_line import rosey

pytestmark = pytest.mark.process

DAY = (date(2025, 11, 28) - EPOCH).days
HOSTILE = "<script>alert(1)</script>"
NOVEMBER = "from=2025-11-01&to=2025-11-30"


def charge(day: int, *scopes: str, **sums: int) -> Charge:
    return Charge(("*", *scopes), DAY + day, 1, **sums)


CHARGES = [
    charge(
        *(0, "u:name alice", "c:#garden", "p:default", "e:openai", "m:gpt-4o-mini"),
        prompt_tokens=1000,
        cached_tokens=400,
        completion_tokens=200,
        micro_usd=1_250_000,
    ),
    charge(
        *(2, "u:id U7", "c:#gone", "p:default", "e:ollama", f"m:{HOSTILE}"),
        prompt_tokens=50,
        completion_tokens=5,
        estimated=1,
        unpriced=1,
    ),
    charge(
        *(2, "u:name alice", "c:#garden", "p:concise", "e:openai", "m:gpt-4o-mini"),
        prompt_tokens=10,
        completion_tokens=1,
        micro_usd=42,
    ),
    charge(-200, "c:#music", "e:openai", "m:gpt-4o-mini", prompt_tokens=1, micro_usd=7_000_000),
]


def write(folder: Path, charges: list[Charge]) -> None:
    audit_database.write_files(folder)
    with closing(sqlite3.connect(folder / "data/rosey-llm.db", isolation_level=None)) as database:
        usage.add(database, charges)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AuditPage]:
    folder = tmp_path_factory.mktemp("costly")
    write(folder, CHARGES)
    with (folder / "rosey-llm.toml").open("a") as file:
        file.write('[limits]\ntimezone = "Europe/Berlin"\n')
    with audit_database.audit(folder) as page:
        page.enter()
        yield page


def table(answer: Answer) -> list[list[str]]:
    """The rows of the table: the texts of their cells."""
    assert answer.status == 200, answer.text
    body = answer.text.partition("<tbody>")[2].partition("</tbody>")[0]
    rows = re.findall(r"<tr>(.*?)</tr>", body, re.DOTALL)
    cells = [re.findall(r"<td.*?>(.*?)</td>", row, re.DOTALL) for row in rows]
    return [[" ".join(re.sub("<.*?>", " ", each).split()) for each in row] for row in cells]


def as_json(page: AuditPage, query: str) -> Any:
    answer = page.get(f"/costs.json?{query}")
    assert answer.status == 200, answer.text
    return json.loads(answer.text)


def test_the_rows_are_those_that_used_anything_and_the_dearest_comes_first(page: AuditPage) -> None:
    assert table(page.get(f"/costs?by=user&{NOVEMBER}")) == [
        ["alice", "1.2500", "2", "1,010", "400", "201"],
        ["id U7 1 unpriced 1 estimated", "?", "1", "50", "0", "5"],
    ]


@pytest.mark.parametrize(
    ("by", "keys"),
    [
        ("channel", ["#garden", "#gone"]),
        ("persona", ["default", "concise"]),
        ("provider", ["openai", "ollama"]),
        ("model", ["gpt-4o-mini", html.escape(HOSTILE)]),
        ("day", ["2025-11-30", "2025-11-28"]),
    ],
)
def test_they_are_by_what_was_asked(page: AuditPage, by: str, keys: list[str]) -> None:
    rows = table(page.get(f"/costs?by={by}&{NOVEMBER}"))
    assert [row[0].removesuffix(" 1 unpriced 1 estimated") for row in rows] == keys


def test_a_key_links_to_the_page_about_it(page: AuditPage) -> None:
    def links(by: str) -> list[str]:
        text = page.get(f"/costs?by={by}&{NOVEMBER}").text.partition("<tbody>")[2]
        return [html.unescape(link) for link in re.findall(r'<td>.*?href="(.*?)"', text)]

    assert links("channel") == ["/channel/1#newest"]  # of #gone, nothing is kept
    assert page.get(links("channel")[0].partition("#")[0]).status == 200
    assert links("persona") == ["/turns?persona=default", "/turns?persona=concise"]
    assert links("day")[0] == "/costs?by=user&from=2025-11-30&to=2025-11-30"
    assert [row[0] for row in table(page.get(links("day")[0]))] == [
        "alice", "id U7 1 unpriced 1 estimated"
    ]  # fmt: skip
    assert links("user") == []


def test_the_totals_say_what_is_estimated_and_what_has_no_price(page: AuditPage) -> None:
    text = page.get(f"/costs?{NOVEMBER}").text
    tiles = re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd><p>(.*?)</p>", text)
    assert tiles == [
        ("Cost", "$1.25", "and 1 request without a price"),
        ("Requests", "3", "tokens of 1 estimated"),
        ("Prompt tokens", "1,060", "400 of them cached"),
        ("Answer tokens", "206", "69 a request"),
    ]
    assert "2025-11-01 to 2025-11-30, days of Europe/Berlin" in text


def test_the_charts_have_a_bar_for_each_day_or_month(page: AuditPage) -> None:
    text = page.get(f"/costs?{NOVEMBER}").text
    assert text.count('<rect class="over"') == 2 * 30
    assert "<title>Fri, 28 Nov: $1.25 (1 request)</title>" in text
    assert "<title>Sun, 30 Nov: $0.0000 (2 requests, 1 without a price)</title>" in text
    cached, other, written = "400 in cached prompts", "600 in other prompts", "200 in answers"
    assert f"<title>Fri, 28 Nov: 1,200 tokens ({cached}, {other}, {written})</title>" in text
    assert text.count('<rect class="cost"') == 2
    text = page.get("/costs?from=2025-01-15&to=2025-11-30").text
    assert text.count('<rect class="over"') == 2 * 11
    assert "<title>May 2025: $7.00 (1 request)</title>" in text
    assert "<title>November 2025: $1.25 (3 requests, 1 without a price)</title>" in text


def test_the_usual_period_of_an_old_copy_ends_with_it(page: AuditPage) -> None:
    text = page.get("/costs").text
    assert "2025-11-01 to 2025-11-30" in text
    assert "nothing was used later" in text
    assert page.get("/costs?days=7").text.count('<rect class="over"') == 2 * 7
    assert "Nothing was used in these days." in page.get("/costs?from=2026-01-01").text
    assert as_json(page, "days=365&by=channel")["rows"][0]["channel"] == "#music"


def test_programs_get_the_same_as_json(page: AuditPage) -> None:
    assert as_json(page, f"by=user&{NOVEMBER}") == {
        "from": "2025-11-01",
        "to": "2025-11-30",
        "timezone": "Europe/Berlin",
        "by": "user",
        "total": {
            "requests": 3, "prompt_tokens": 1060, "cached_tokens": 400, "completion_tokens": 206,
            "estimated": 1, "unpriced": 1, "usd": 1.250042,
        },
        "rows": [
            {
                "user": "alice", "requests": 2, "prompt_tokens": 1010, "cached_tokens": 400,
                "completion_tokens": 201, "estimated": 0, "unpriced": 0, "usd": 1.250042,
            },
            {
                "user": "id U7", "requests": 1, "prompt_tokens": 50, "cached_tokens": 0,
                "completion_tokens": 5, "estimated": 1, "unpriced": 1, "usd": 0.0,
            },
        ],
    }  # fmt: skip
    link = re.search(r'href="(/costs\.json.*?)"', page.get(f"/costs?by=user&{NOVEMBER}").text)
    assert link
    assert as_json(page, html.unescape(link[1]).partition("?")[2])["by"] == "user"


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("from=yesterday", "from must be a day, such as 2026-11-30"),
        ("to=2025-11-31", "to must be a day, such as 2026-11-30"),
        ("from=0001-01-01", "from must be a day, such as 2026-11-30"),
        ("to=9999-12-31", "to must be a day, such as 2026-11-30"),
        ("from=2025-11-02&to=2025-11-01", "from must not be after to"),
        ("from=2000-01-01&to=2025-11-01", "from and to must be at most 3,660 days"),
    ],
)
def test_a_period_that_is_none_is_refused(page: AuditPage, query: str, problem: str) -> None:
    answer = page.get(f"/costs?{query}")
    assert (answer.status, f"<p>{problem}</p>" in answer.text) == (400, True)
    answer = page.get(f"/costs.json?{query}")
    assert (answer.status, json.loads(answer.text)["error"]) == (400, problem)


def test_an_erased_user_is_not_shown_and_the_totals_stay(tmp_path: Path) -> None:
    write(tmp_path, CHARGES)
    erased = rosey(tmp_path, "history", "erase", "--user", "alice", "--yes")
    assert erased.returncode == 0, erased.stderr
    with audit_database.audit(tmp_path) as page:
        page.enter()
        shown = page.get(f"/costs?by=user&{NOVEMBER}")
        told = as_json(page, f"by=user&{NOVEMBER}")
    assert "alice" not in shown.text
    assert [row[0] for row in table(shown)] == ["id U7 1 unpriced 1 estimated"]
    assert "$1.25" in shown.text
    assert ([each["user"] for each in told["rows"]], told["total"]["requests"]) == (["id U7"], 3)


def test_of_very_many_only_the_dearest_are_shown(tmp_path: Path) -> None:
    write(tmp_path, [charge(0, f"m:model-{number}", micro_usd=number) for number in range(101)])
    with audit_database.audit(tmp_path) as page:
        page.enter()
        shown = page.get("/costs?by=model")
        told = as_json(page, "by=model")
    rows = table(shown)
    assert (len(rows), rows[0][0], rows[-1][0]) == (100, "model-100", "model-1")
    assert "The 100 that cost most. The rest is in the JSON." in shown.text
    assert len(told["rows"]) == 101
    assert told["from"] == (EPOCH + timedelta(days=DAY - 29)).isoformat()
