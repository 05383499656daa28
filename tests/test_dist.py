"""What is published works in a new environment, and so do the commands of the documents."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.dist.build import ROOT, built
from tests.dist.trial import Trial

pytestmark = [pytest.mark.real, pytest.mark.process, pytest.mark.timeout(900)]
SOURCE = ("engine", "providers", "storage")
FILES = ("pyproject.toml", "constraints.txt", "rosey-llm.toml", "README.md", "LICENSE")


@pytest.mark.parametrize("which", [0, 1], ids=["wheel", "sdist"])
def test_what_is_published_answers_in_a_new_environment(tmp_path: Path, which: int) -> None:
    file = built(tmp_path / "dist")[which]
    home = tmp_path / "home"
    home.mkdir()
    Trial(home, str(file), print).run()


def test_the_documented_commands_install_and_answer(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "getting-started.md").read_text()
    block = re.search(r"<!-- tested: install -->\n```sh\n(.*?)```", page, re.DOTALL)
    assert block
    for name in SOURCE:
        shutil.copytree(ROOT / name, tmp_path / name)
    for name in FILES:
        shutil.copy(ROOT / name, tmp_path)
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    done = subprocess.run(
        ["/bin/sh", "-e", "-c", block[1]],
        cwd=tmp_path,
        env=environment,
        input="What is Python?\n",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()[-1]) > 10, done.stdout
