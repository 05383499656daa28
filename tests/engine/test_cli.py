"""Every command through its real entry point, as a user starts it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.support.command_line import COMMAND, SCRIPTED, rosey, running
from tests.support.patience import WAIT_S

pytestmark = pytest.mark.process


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "rosey-llm.toml").write_text(SCRIPTED)
    return tmp_path


def test_version_and_help(tmp_path: Path) -> None:
    assert rosey(tmp_path, "--version").stdout.startswith("rosey-llm, version 0.")
    for command in ("run", "chat", "check"):
        assert f"Usage: rosey-llm {command}" in rosey(tmp_path, command, "--help").stdout
        assert command in rosey(tmp_path, "--help").stdout


def test_a_wrong_configuration_is_an_error_and_ends_with_3(folder: Path) -> None:
    (folder / "wrong.toml").write_text("[providers.openai]\ntimeout = 'soon'")
    for command in ("run", "chat", "check"):
        done = rosey(folder, command, "--config", "wrong.toml")
        assert done.returncode == 3
        assert done.stderr == (
            "rosey-llm cannot start: wrong.toml: providers.openai.timeout:"
            ' expected a number, got "soon"\n'
        )


@pytest.mark.parametrize("command", ["--help", "history channels", "persona list", "check"])
def test_an_output_that_cannot_be_written_is_an_error_and_ends_with_1(
    folder: Path, command: str
) -> None:
    rosey(folder, "chat", said="Hello\n")
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [COMMAND, *command.split()],
            cwd=folder,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=WAIT_S,
            check=False,
        )
    assert (done.returncode, done.stderr) == (
        1,
        "Error: cannot write the output: No space left on device.\n",
    )


@pytest.mark.parametrize("command", ["top --once", "history channels"])
def test_letters_that_the_locale_lacks_are_replaced(
    folder: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    with running(folder):
        rosey(folder, "chat", "--channel", "Zoë 🎉", said="Hello\n")
        monkeypatch.setenv("PYTHONIOENCODING", "ascii")
        done = rosey(folder, *command.split())
    assert (done.returncode, done.stderr) == (0, "")
    assert "Zo? ?" in done.stdout


@pytest.mark.parametrize("command", ["chat", "history channels", "history show nowhere"])
def test_a_command_works_with_closed_streams(folder: Path, command: str) -> None:
    rosey(folder, "chat", said="Hello\n")
    done = subprocess.run(
        ["/bin/sh", "-c", f"'{COMMAND}' {command} <&- >&-"],
        cwd=folder,
        stderr=subprocess.PIPE,
        text=True,
        timeout=WAIT_S,
        check=False,
    )
    nowhere = command.endswith("nowhere")
    assert (done.returncode, "Traceback" in done.stderr) == (int(nowhere), False)
    assert ('There is no channel "nowhere".' in done.stderr) == nowhere


def test_a_disabled_service_says_so(folder: Path) -> None:
    (folder / "rosey-llm.toml").write_text("enabled = false")
    done = rosey(folder, "run")
    assert (done.returncode, "is disabled" in done.stdout) == (0, True)


def test_a_missing_provider_module_is_named_with_the_folders_searched(
    folder: Path,
) -> None:
    (folder / "rosey-llm.toml").write_text(
        SCRIPTED.replace('"scripted"', '"mine"') + '[providers.mine]\nkind = "my.shout:Shout"\n'
    )
    done = rosey(folder, "run")
    assert done.returncode == 3
    assert done.stderr == (
        "rosey-llm cannot start: rosey-llm.toml: providers.mine.kind: cannot import "
        f'"my.shout:Shout": no module "my" is installed or in {folder}; '
        "put my/shout.py there\n"
    )


def test_a_file_beside_the_configuration_hides_no_other_module(folder: Path) -> None:
    (folder / "rosey-llm.toml").write_text(
        SCRIPTED.replace('"scripted"', '"mine"') + '[providers.mine]\nkind = "mine:Mine"\n'
    )
    (folder / "mine.py").write_text(
        "from providers.scripted import ScriptedProvider\nclass Mine(ScriptedProvider):\n    pass\n"
    )
    for name in ("storage", "datetime", "nats"):
        (folder / f"{name}.py").write_text("1 / 0\n")
    done = rosey(folder, "chat", said="Hello")
    assert (done.stdout, done.stderr) == ("You said: Hello\n", "")
