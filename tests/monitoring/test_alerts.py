"""The alert rules for Prometheus name metrics that exist, and fire when they should."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.fakes.llm_server import Behaviour
from tests.support.scraper import scrape
from tests.support.service_harness import House

FOLDER = Path(__file__).parents[2] / "docs" / "prometheus"
METRIC = re.compile(r"\b(?:rosey_llm|process)_\w+")


def rules() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"]
    return list(group["rules"])


async def test_every_metric_and_label_of_the_rules_exists(house: House) -> None:
    house.config["budgets"] = {"total_tokens_per_day": 1_000_000}
    await house.open()
    assert house.app is not None
    house.llm.plan(Behaviour(), Behaviour(status=401))
    await house.bot.ask("Hello")
    await house.bot.ask("Hello")
    seen = await scrape(str(house.app.http_url))
    labels = {label for f in seen.families for sample in f.samples for label in sample.labels}
    for rule in rules():
        assert set(METRIC.findall(rule["expr"])) <= seen.names, rule["alert"]
        for matchers in re.findall(r"\{(.*?)\}", rule["expr"]):
            assert set(re.findall(r"(\w+)!?=", matchers)) <= labels | {"job"}, rule["alert"]


def test_every_rule_says_what_is_wrong_and_what_to_do() -> None:
    names = [rule["alert"] for rule in rules()]
    assert len(names) == len(set(names)) > 15
    for rule in rules():
        assert rule["labels"]["severity"] in ("critical", "warning")
        for text in ("summary", "description"):
            assert rule["annotations"][text].endswith((".", "?")), rule["alert"]


@pytest.mark.real
@pytest.mark.parametrize(
    "arguments",
    [
        ["check", "config", "prometheus.yml"],
        ["check", "rules", "alerts.yml"],
        ["test", "rules", "alerts_test.yml"],
    ],
    ids=" ".join,
)
def test_prometheus_accepts_the_files_and_the_rules_fire_as_they_should(
    arguments: list[str],
) -> None:
    promtool = Path(sys.executable).with_name("promtool")
    done = subprocess.run(
        [promtool, *arguments], cwd=FOLDER, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
