"""The import package `rosey_llm`: from a checkout, and as the built wheel has it."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest
import rosey_llm

ROOT = Path(__file__).parents[1]
PROGRAM = """
import asyncio
import sys

import rosey_llm

loaded = {"aiohttp", "sqlite3", "cattrs", "nats"} & set(sys.modules)
assert not loaded, loaded

from rosey_llm import Answer, LLMError, LLMService, ScriptedProvider


async def main() -> None:
    async with LLMService(ScriptedProvider(), database="history.db") as service:
        answer: Answer = await service.chat("Hello")
        print(answer.content)
        try:
            await service.set_persona("nobody")
        except LLMError as exc:
            print(exc.code)


asyncio.run(main())
"""
TYPED_PROGRAM = """
from rosey_llm import Answer, LLMProvider, LLMService, OllamaProvider


async def ask(service: LLMService) -> str:
    answer = await service.chat("Hello", temperature=0.5)
    return answer.content


def provider() -> LLMProvider:
    return OllamaProvider({"default_model": "llama3.2"})


def tokens(answer: Answer) -> int:
    return answer.usage.total_tokens if answer.usage else 0
"""


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(part) for part in command], cwd=cwd, capture_output=True, text=True, timeout=240
    )


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment with the built wheel, and our dependencies."""
    folder = tmp_path_factory.mktemp("wheel")
    options = ("--no-deps", "--no-build-isolation", "--disable-pip-version-check")
    built = run(sys.executable, "-m", "pip", "wheel", *options, "-w", folder, ROOT, cwd=folder)
    assert built.returncode == 0, built.stderr
    home = folder / "venv"
    venv.create(home, symlinks=True)
    (packages,) = home.glob("lib/python*/site-packages")
    (wheel,) = folder.glob("rosey_llm-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(packages)
    # The .pth files of a folder that a .pth file names are ignored: ours comes from the wheel.
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return home / "bin" / "python"


def test_every_public_name_is_there() -> None:
    assert len(rosey_llm.__all__) > 25
    for name in rosey_llm.__all__:
        assert getattr(rosey_llm, name).__name__.replace("load", "load_settings") == name
    with pytest.raises(AttributeError, match="no attribute 'LLMServise'"):
        _ = rosey_llm.LLMServise  # type: ignore[attr-defined]
    assert set(rosey_llm.__all__) <= set(dir(rosey_llm))


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


@pytest.mark.process
@pytest.mark.timeout(300)
def test_the_wheel_runs_beside_packages_of_the_same_names(installed: Path, tmp_path: Path) -> None:
    for name in ("engine", "providers", "storage"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("mine = True\n")
    (tmp_path / "program.py").write_text(PROGRAM + "import storage\nassert storage.mine\n")
    done = run(installed, "program.py", cwd=tmp_path)
    assert (done.stdout, done.stderr) == ("You said: Hello\nunknown_persona\n", "")


@pytest.mark.process
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", ["rosey_llm", "engine"])
def test_a_type_checker_sees_the_types_of_the_wheel(
    installed: Path, tmp_path: Path, name: str
) -> None:
    program = TYPED_PROGRAM
    if name == "engine":
        program = program.replace(
            "from rosey_llm import Answer, LLMProvider, LLMService, OllamaProvider",
            "from engine import Answer, LLMService\n"
            "from providers import LLMProvider, OllamaProvider",
        )
    (tmp_path / "right.py").write_text(program)
    wrong_program = program.replace("answer.content\n", "answer.contents\n")
    (tmp_path / "wrong.py").write_text(f"{wrong_program}\nfrom {name} import LLMServise\n")
    mypy = (sys.executable, "-m", "mypy", "--strict", "--python-executable", installed)
    options = ("--no-incremental", "--config-file", "")
    right = run(*mypy, *options, "right.py", cwd=tmp_path)
    assert right.returncode == 0, right.stdout
    wrong = run(*mypy, *options, "wrong.py", cwd=tmp_path)
    assert 'error: "Answer" has no attribute "contents"' in wrong.stdout
    assert f'Module "{name}" has no attribute "LLMServise"; maybe "LLMService"?' in wrong.stdout
    assert "Found 3 errors in 1 file" in wrong.stdout
