"""The audit page shows names whole, and what became of a prompt on its way to the model."""

from __future__ import annotations

import hashlib
import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import pytest

from engine.answering import prompt_forms
from engine.answering.prompt_forms import PromptParts
from storage import history, persona_versions
from storage.history import Row, TurnRows
from tests.support import audit_database

pytestmark = pytest.mark.process

ODD = "a\u202elice\u200b"
SHOWN = "a&lt;U+202E&gt;lice&lt;U+200B&gt;"


def write_turn(path: Path) -> int:
    """Write a turn of a user with an odd name, whose prompt the provider changed; return its id."""
    encoded = prompt_forms.render(PromptParts("Be kind.", (), ODD, "Hi")).encoded
    details = {
        "persona_version": persona_versions.version("Be kind."),
        "exchanges": 0,
        "prompt_form": prompt_forms.CURRENT,
        "prompt_digest": hashlib.sha256(encoded).hexdigest(),
        "sent_as": ["system_in_user"],
        "prompt_cut": True,
    }
    rows = [Row("message", "r", ODD, "Hi"), Row("answer", "r", ODD, "Hello", details=details)]
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        persona_versions.keep(connection, [("default", "Be kind.")], 0)
        return history.append(connection, [TurnRows(1, 1, rows)])[-1]


def test_names_and_notes_are_shown(tmp_path: Path) -> None:
    audit_database.write_files(tmp_path)
    row_id = write_turn(tmp_path / "data" / "rosey-llm.db")
    pages = ["/channel/1", f"/channel/1?user={quote(ODD)}", "/turns", "/search?q=hi"]
    with audit_database.audit(tmp_path) as opened:
        opened.enter()
        for path in [*pages, f"/turn/{row_id}"]:
            page = opened.get(path).text
            assert SHOWN in page, path
            assert f"<bdi>{ODD}" not in page, path
    assert "exactly what the model was given" in page
    assert "The provider moved the system text into the first user message." in page
    assert "The server seems to have dropped the start of this prompt" in page
