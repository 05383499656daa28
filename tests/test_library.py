"""The import package `rosey_llm` from a checkout; `test_wheel.py` has the built wheel."""

from __future__ import annotations

import inspect
import re
import sys
from pathlib import Path

import pytest
import rosey_llm

from tests.support.library_program import PROGRAM, run


def test_every_public_name_is_there() -> None:
    assert len(rosey_llm.__all__) > 25
    for name in rosey_llm.__all__:
        assert getattr(rosey_llm, name).__name__.replace("load", "load_settings") == name
    with pytest.raises(AttributeError, match="no attribute 'LLMServise'"):
        _ = rosey_llm.LLMServise  # type: ignore[attr-defined]
    assert set(rosey_llm.__all__) <= set(dir(rosey_llm))


def test_the_document_has_every_public_name_and_no_other() -> None:
    document = (Path(__file__).parents[1] / "docs" / "library.md").read_text()
    table = document.split("\n## Every name\n")[1]
    named = re.findall(r"^\| `(\w+)` \| \S", table, re.MULTILINE)
    assert sorted(named) == sorted(rosey_llm.__all__)


def test_the_document_has_every_argument_and_method_of_the_service() -> None:
    document = (Path(__file__).parents[1] / "docs" / "library.md").read_text()
    section = document.split("\n## `LLMService`\n")[1].split("\n## ")[0]
    arguments = re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)
    assert arguments == list(inspect.signature(rosey_llm.LLMService).parameters)
    methods = {name for name in vars(rosey_llm.LLMService) if not name.startswith("_")}
    assert methods - {"start", "aclose"} <= set(re.findall(r"`(\w+)`", section))


def test_the_document_has_every_argument_and_call_of_the_client() -> None:
    document = (Path(__file__).parents[1] / "docs" / "library.md").read_text()
    section = document.split("\n## A client of a running service\n")[1].split("\n## ")[0]
    arguments = re.findall(r"^\| `(\w+)` \| ", section.split("\n| argument |")[1], re.MULTILINE)
    assert arguments == list(inspect.signature(rosey_llm.Client).parameters)
    table = section.split("\n| call |")[1].split("\n\n")[0]
    cells = "".join(re.findall(r"^\| (.*?) \|", table, re.MULTILINE))
    calls = {name for name in vars(rosey_llm.Client) if not name.startswith("_")}
    assert set(re.findall(r"`(\w+)[(`]", cells)) == calls


def test_the_document_has_every_argument_and_call_of_the_speaker() -> None:
    document = (Path(__file__).parents[1] / "docs" / "library.md").read_text()
    section = document.split("\n### At a pace\n")[1].split("\n## ")[0]
    arguments = re.findall(r"^\| `(\w+)` \| ", section, re.MULTILINE)
    assert arguments == list(inspect.signature(rosey_llm.Speaker).parameters)
    calls = {name for name in vars(rosey_llm.Speaker) if not name.startswith("_")}
    assert calls <= set(re.findall(r"`(\w+)\(", section))


def test_the_client_for_threads_has_the_same_calls_with_the_same_arguments() -> None:
    from rosey_llm import sync

    names = {name for name in vars(rosey_llm.Client) if not name.startswith("_")}
    assert names == {name for name in vars(sync.Client) if not name.startswith("_")}
    for name in {"__init__", *names} - {"is_connected"}:
        ours, theirs = getattr(rosey_llm.Client, name), getattr(sync.Client, name)
        assert inspect.signature(ours).parameters == inspect.signature(theirs).parameters, name
    with pytest.raises(AttributeError, match="no attribute 'Clint'"):
        _ = sync.Clint  # type: ignore[attr-defined]


def test_nobody_else_gets_another_class_by_the_short_names() -> None:
    from engine import LLMService
    from providers.base import LLMProvider

    assert rosey_llm.LLMService is LLMService
    assert rosey_llm.LLMProvider is LLMProvider


@pytest.mark.process
@pytest.mark.parametrize("taken", [(), ("engine",), ("engine", "providers", "storage")])
def test_it_runs_also_beside_packages_of_the_same_names(
    tmp_path: Path, taken: tuple[str, ...]
) -> None:
    for name in taken:
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("mine = True\n")
    uses_own = "".join(f"import {name}\nassert {name}.mine\n" for name in taken)
    for number, program in enumerate((uses_own + PROGRAM, PROGRAM + uses_own)):
        file = tmp_path / f"program{number}.py"
        file.write_text(program)
        done = run(sys.executable, file, cwd=tmp_path)
        assert (done.stdout, done.stderr) == ("You said: Hello\nunknown_persona\n", "")
