"""The built wheel in an environment of its own: it runs, and a type checker sees its types."""

from __future__ import annotations

import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from tests.support.library_program import PROGRAM, run

pytestmark = [pytest.mark.real, pytest.mark.process, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[1]
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


def test_the_wheel_runs_beside_packages_of_the_same_names(installed: Path, tmp_path: Path) -> None:
    for name in ("engine", "providers", "storage"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("mine = True\n")
    (tmp_path / "program.py").write_text(PROGRAM + "import storage\nassert storage.mine\n")
    done = run(installed, "program.py", cwd=tmp_path)
    assert (done.stdout, done.stderr) == ("You said: Hello\nunknown_persona\n", "")


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


def test_the_wheel_has_the_schemas_of_the_messages(installed: Path) -> None:
    (folder,) = installed.parents[1].glob("lib/python*/site-packages/engine/traffic/schema")
    here = ROOT / "engine" / "traffic" / "schema"
    assert {each.name for each in folder.iterdir()} == {each.name for each in here.iterdir()}
