"""Runs every command of `docs/operating.md` and compares the output with the document."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.walk import script
from tests.walk.likeness import skeleton
from tests.walk.walker import Walker

DOCUMENT = (Path(__file__).parents[1] / "docs" / "operating.md").read_text()


@pytest.mark.process
@pytest.mark.timeout(600)
def test_every_command_prints_what_the_document_says(tmp_path: Path) -> None:
    recorded = [step for _, _, steps in script.blocks(DOCUMENT) for step in steps]
    with Walker(tmp_path) as walker:
        printed = [walker.run(step) for step in recorded]
    for was, now in zip(skeleton(recorded), skeleton(printed), strict=True):
        assert now == was


def test_every_picture_of_the_documents_exists() -> None:
    docs = Path(__file__).parents[1] / "docs"
    for document in docs.glob("*.md"):
        for picture in re.findall(r"!\[.*?\]\((.*?)\)", document.read_text()):
            assert (docs / picture).is_file(), (document.name, picture)
