"""Tests of what is said about a file that pins a default of an earlier version."""

from __future__ import annotations

import dataclasses
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

from engine.config import loading, old_defaults
from providers.base import ProviderConfig
from tests.support.command_line import COMMAND
from tests.support.patience import WAIT_S

ROOT = Path(__file__).parents[2]


def notes(**tables: Any) -> list[str]:
    return old_defaults.notes(loading.parse({"providers": tables}, Path()))


@pytest.mark.parametrize(
    ("kind", "first", "limit"), [("ollama", 300.0, 300), ("local", 120.0, 120)]
)
def test_a_timeout_alone_is_named_where_loading_a_model_may_take_longer(
    kind: str, first: float, limit: int
) -> None:
    (note,) = notes(mine={"kind": kind, "timeout": 60.0})
    assert note.startswith("providers.mine.timeout = 60.0 also limits the wait for the first piece")
    assert f"without the line that is {limit} s" in note
    assert notes(mine={"kind": kind, "timeout": 60.0, "first_content_timeout": first}) == []
    assert notes(mine={"kind": kind, "timeout": first}) == []


def test_other_tables_have_nothing_to_be_named() -> None:
    assert (
        notes(
            ollama={},
            openai={"timeout": 60.0},
            mine={"kind": "scripted", "timeout": 1.0},
        )
        == []
    )


def test_the_shipped_file_needs_no_note() -> None:
    shipped = tomllib.loads((ROOT / "rosey-llm.toml").read_text())
    assert old_defaults.notes(loading.parse(shipped, ROOT)) == []


def test_a_value_that_was_a_default_once_is_named_with_the_default_of_today() -> None:
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Today(ProviderConfig):
        max_concurrency: int = 4

    written = {"max_concurrency": 64, "max_retries": 2}
    table = {"max_concurrency": 64, "max_retries": 2, "timeout": 60.0}
    assert list(old_defaults.table_notes("providers.x", table, written, Today())) == [
        "providers.x.max_concurrency = 64 is the default of an earlier version; "
        "without the line it is 4"
    ]
    assert not list(
        old_defaults.table_notes("providers.x", {"max_concurrency": 9}, written, Today())
    )


# Those of them that have another default by now.
CHANGED = {
    "ollama": {"max_concurrency": 4},
    "openai": {"max_concurrency": 512},
    "openrouter": {"max_concurrency": 512},
    "local": {"max_tokens": 150},
}


def test_every_default_that_was_written_is_that_of_a_key() -> None:
    for kind, written in old_defaults.WRITTEN.items():
        table = {"kind": kind, "first_content_timeout": 300.0, **written, **CHANGED[kind]}
        assert not notes(mine=table), kind
        for key, now in CHANGED[kind].items():
            (note,) = notes(mine={"kind": kind, key: written[key]})
            assert note.startswith(f"providers.mine.{key} = {written[key]} is the default of an")
            assert note.endswith(f"without the line it is {now}")


def test_a_default_that_depends_on_other_keys_is_compared_with_theirs() -> None:
    assert notes(mine={"kind": "local", "parallel": 2, "max_concurrency": 2}) == []
    (note,) = notes(mine={"kind": "local", "parallel": 6, "max_concurrency": 2})
    assert note.endswith("without the line it is 6")
    own = {"kind": "openai", "base_url": "http://localhost:8000/v1", "max_concurrency": 64}
    assert notes(mine=own) == []


@pytest.mark.process
def test_the_start_of_the_service_names_the_file_and_the_value(tmp_path: Path) -> None:
    file = tmp_path / "rosey-llm.toml"
    file.write_text(
        'default_provider = "scripted"\nfallback_providers = []\n[nats]\nport = 0\n'
        "[http]\nport = 0\n[providers.ollama]\ntimeout = 60.0\n"
    )
    with subprocess.Popen(
        [COMMAND, "run"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        while "is ready" not in process.stdout.readline():
            pass
        process.terminate()
        _, log = process.communicate(timeout=WAIT_S)
    assert "rosey-llm.toml: providers.ollama.timeout = 60.0 also limits" in log


def test_the_length_of_the_tiny_model_is_no_default_for_another_file() -> None:
    (note,) = notes(local={"max_tokens": 1024})
    assert note.endswith("without the line it is 150")
    assert notes(local={"max_tokens": 1024, "model_path": "big.gguf"}) == []
