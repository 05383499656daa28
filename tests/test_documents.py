"""Tests of `docs/` and of the shipped configuration: what they name exists."""

from __future__ import annotations

import dataclasses
import re
import tomllib
from pathlib import Path
from typing import get_args

import orjson
import pytest

from engine.config.loading import parse
from providers import registry
from providers.base import ProviderConfig
from providers.scripted import FAILURES, ScriptedConfig
from storage.row_kinds import Kind
from tests import cli_page

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
DOCUMENTS = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]


def table(document: str, heading: str) -> dict[str, str]:
    """Return the table with this heading: the rest of the row by each name in the first cell."""
    rows = (DOCS / document).read_text().split(f"\n| {heading} |")[1].split("\n\n")[0]
    found = re.findall(r"^\| (`.*?`) \| (.*) \|$", rows, re.MULTILINE)
    return {name: rest for names, rest in found for name in re.findall(r"`(\w+)`", names)}


def test_every_kind_of_row_is_documented_and_no_other() -> None:
    assert table("history.md", "kind").keys() == set(get_args(Kind))


def test_every_key_of_the_scripted_provider_is_documented_with_its_default_and_no_other() -> None:
    own = {field.name: field for field in dataclasses.fields(ScriptedConfig)}
    for field in dataclasses.fields(ProviderConfig):
        del own[field.name]
    rows = table("providers.md", "key")
    assert rows.keys() == own.keys()
    for name, field in own.items():
        assert rows[name].startswith(f"`{orjson.dumps(field.default).decode()}` |"), name
    assert re.findall(r'such as `"(\w+)"`', rows["fail"])[0] in FAILURES


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_every_configuration_in_the_documents_is_valid(document: Path, tmp_path: Path) -> None:
    provider = re.search(r"```python\n(from collections.*?)```", document.read_text(), re.DOTALL)
    if provider:
        (tmp_path / "shouting_provider.py").write_text(provider[1])
    for block in re.findall(r"^```toml\n(.*?)^```$", document.read_text(), re.DOTALL | re.M):
        parse(tomllib.loads(block), tmp_path)


def test_the_shipped_configuration_names_every_kind_of_provider() -> None:
    shipped = (ROOT / "rosey-llm.toml").read_text()
    kinds = shipped.split("needs a kind:")[1].split("All tables")[0]
    for kind in registry.KINDS:
        assert re.search(rf"\b{kind}\b", kinds), kind


def test_every_picture_is_shown_or_linked() -> None:
    text = "".join(document.read_text() for document in DOCUMENTS)
    for picture in [*DOCS.glob("*.svg"), *DOCS.glob("images/*")]:
        assert f"{picture.relative_to(DOCS)})" in text, picture.name


@pytest.mark.parametrize(
    "file", ["Makefile", "docs/getting-started.md", "docs/Containerfile", "docs/rosey-llm.service"]
)
def test_every_installation_includes_the_weights_of_the_embedded_model(file: str) -> None:
    text = (ROOT / file).read_text()
    assert re.search(r"(install|\$\(pip\)) .*\[embedded[],]", text)
    assert re.search(r"rosey-llm model install$", text, re.MULTILINE)


def test_the_page_of_the_command_line_is_what_the_commands_say() -> None:
    assert cli_page.PAGE.read_text() == cli_page.page()
