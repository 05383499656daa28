"""Tests that the Grafana dashboard shows all metrics, and none that does not exist."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from tests.fakes.llm_server import Behaviour
from tests.support.scraper import scrape
from tests.support.service_harness import House

DASHBOARD = orjson.loads(Path(__file__).parents[2].joinpath("docs", "grafana.json").read_bytes())
ROWS = ["Health", "Traffic", "Turns", "Latency", "Providers", "Tokens", "Storage", "NATS"]
METRIC = re.compile(r"\b(?:rosey_llm|process|python)_\w+")


def panels() -> list[dict[str, Any]]:
    return [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def queries() -> Iterator[str]:
    for panel in panels():
        for target in panel["targets"]:
            yield target["expr"]
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["definition"]


async def test_every_metric_in_the_dashboards_queries_exists(house: House) -> None:
    house.config["budgets"] = {"total_tokens_per_day": 1_000_000}
    await house.open()
    assert house.app is not None
    house.llm.plan(Behaviour(), Behaviour(status=401))
    await house.bot.ask("Hello")
    await house.bot.ask("Hello")
    seen = await scrape(str(house.app.http_url))
    asked = {name for query in queries() for name in METRIC.findall(query)}
    assert len(asked) > 40
    assert not asked - seen.names
    labels = {label for f in seen.families for sample in f.samples for label in sample.labels} | {
        "job",
        "instance",
    }
    for query in queries():
        for matchers in re.findall(r"\{(.*?)\}", query):
            assert set(re.findall(r"(\w+)=", matchers)) <= labels, query
        for by in re.findall(r"by \((.*?)\)", query):
            assert set(re.split(r",\s*", by)) <= labels | {"le"}, query


async def test_every_metric_is_on_the_dashboard(house: House) -> None:
    house.config["budgets"] = {"total_tokens_per_day": 1_000_000}
    await house.open()
    assert house.app is not None
    seen = await scrape(str(house.app.http_url))
    asked = {
        re.sub("_(total|bucket|sum|count)$", "", name)
        for query in queries()
        for name in METRIC.findall(query)
    }
    assert {family.name for family in seen.families} - asked == set()


def test_grafana_can_import_it() -> None:
    assert DASHBOARD["schemaVersion"] >= 39
    assert [p["title"] for p in DASHBOARD["panels"] if p["type"] == "row"] == ROWS
    source = DASHBOARD["templating"]["list"][0]
    assert (source["name"], source["type"], source["query"]) == (
        "datasource", "datasource", "prometheus"
    )  # fmt: skip
    for panel in panels():
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert panel["title"]
        assert panel["description"].strip().endswith((".", "used")), panel["title"]
        assert panel["targets"]
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))


def test_no_two_panels_lie_on_each_other() -> None:
    cells: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        mine = {(at["x"] + i, at["y"] + j) for i in range(at["w"]) for j in range(at["h"])}
        assert not mine & cells, panel["title"]
        cells |= mine


def test_brackets_are_closed() -> None:
    for query in queries():
        for opening, closing in ("()", "[]", "{}"):
            assert query.count(opening) == query.count(closing), query
