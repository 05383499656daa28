"""Which nats-server program the embedded server runs."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest

from engine.config.loading import parse
from engine.traffic.embedded import program
from engine.traffic.embedded.errors import NatsServerFailed, NatsServerMissing
from engine.traffic.embedded.program import find_program
from engine.traffic.embedded.server import BotRights, EmbeddedNats
from providers.installation import install_command
from tests.support.patience import until
from tests.support.processes import alive

pytestmark = pytest.mark.process

OWN = find_program().path


def saying(folder: Path, said: str, name: str = "nats-server") -> Path:
    """Put a program into a folder that prints a text."""
    folder.mkdir(exist_ok=True)
    file = folder / name
    file.write_text(f"#!/bin/sh\necho '{said}'\n")
    file.chmod(0o755)
    return file


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is first on PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder


@pytest.fixture
def no_wheel(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(program, "_of_wheel", lambda: (None, ""))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))


@pytest.mark.parametrize("version", ["2.10.0", "2.15.1", "2.12.0-RC.1", "2.99.3"])
def test_a_fitting_program_on_path_comes_before_that_of_the_wheel(path: Path, version: str) -> None:
    file = saying(path, f"nats-server: v{version}")
    found = find_program()
    assert (found.path, found.passed_over) == (file, "")
    assert version.startswith(found.version)


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("nats-server: v2.9.25", "is version 2.9.25; rosey-llm needs 2.10 or newer, below 3"),
        ("nats-server: v3.0.0", "is version 3.0.0; rosey-llm needs 2.10 or newer, below 3"),
        ("hello 2.12.0", "does not say which version of nats-server it is"),
        ("nats-server", "does not say which version of nats-server it is"),
    ],
)
def test_if_that_on_path_does_not_fit_the_wheels_is_taken_and_that_is_said(
    path: Path, said: str, why: str
) -> None:
    file = saying(path, said)
    found = find_program()
    assert found.path == OWN
    assert found.passed_over == f"{file} {why}"


def test_what_cannot_be_run_on_path_is_passed_over(path: Path) -> None:
    (path / "nats-server").write_text("not a program\n")
    (path / "nats-server").chmod(0o755)
    found = find_program()
    assert found.path == OWN
    assert "nats-server cannot be run: Exec format error" in found.passed_over


def test_a_relative_folder_of_path_is_not_searched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saying(tmp_path, "nats-server: v2.15.1")
    monkeypatch.chdir(tmp_path)
    for folders in (".", "", f".{os.pathsep}"):
        monkeypatch.setenv("PATH", folders + os.pathsep + os.defpath)
        assert find_program().path == OWN


def test_the_named_program_comes_first(path: Path, tmp_path: Path) -> None:
    saying(path, "nats-server: v2.14.0")
    named = saying(tmp_path / "mine", "nats-server: v2.11.2", "nats-server-2.11")
    assert find_program(str(named)) == program.NatsProgram(named, "2.11.2")


def test_a_named_program_that_does_not_fit_is_an_error_even_if_another_would(
    tmp_path: Path,
) -> None:
    old = saying(tmp_path, "nats-server: v2.8.4")
    with pytest.raises(
        NatsServerMissing,
        match=re.escape(
            f"[nats] server: {old} is version 2.8.4; rosey-llm needs 2.10 or newer, below 3."
        ),
    ):
        find_program(str(old))
    with pytest.raises(NatsServerMissing, match="none cannot be run: No such file or directory"):
        find_program(str(tmp_path / "none"))


@pytest.mark.usefixtures("no_wheel")
def test_without_any_program_the_error_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(NatsServerMissing) as missing:
        find_program()
    said = str(missing.value)
    assert said.startswith("Cannot find a nats-server program that fits. Put one on PATH,")
    assert said.endswith(install_command("embedded"))
    old = saying(tmp_path / "bin", "nats-server: v2.2.0")
    with pytest.raises(NatsServerMissing) as missing:
        find_program()
    assert f"that fits ({old} is version 2.2.0; rosey-llm needs" in str(missing.value)


def test_a_wheel_that_is_too_old_does_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "_of_wheel", lambda: (OWN, "2.9.1"))
    monkeypatch.setenv("PATH", os.defpath)
    with pytest.raises(NatsServerMissing, match=r"is version 2\.9\.1"):
        find_program()


def test_the_configuration_names_a_program_from_its_own_folder(tmp_path: Path) -> None:
    assert parse({"nats": {"server": "bin/nats"}}, tmp_path).nats.server == str(
        tmp_path / "bin/nats"
    )
    assert parse({}, tmp_path).nats.server == ""


async def test_the_named_program_runs_and_the_log_says_what_was_passed_over(
    tmp_path: Path, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    named = tmp_path / "my-server"
    named.symlink_to(OWN)
    async with EmbeddedNats(tmp_path / "a", 0, rights=BotRights(), program=str(named)) as server:
        assert Path(f"/proc/{server.pid}/cmdline").read_text().startswith(f"{named}\0")
    saying(path, "nats-server: v2.1.0")
    async with EmbeddedNats(tmp_path / "b", 0, rights=BotRights()):
        pass
    assert f"is version 2.1.0; rosey-llm needs 2.10 or newer, below 3. Using {OWN}." in caplog.text


async def test_a_script_that_is_not_replaced_by_the_server_is_refused_and_leaves_nothing(
    tmp_path: Path,
) -> None:
    script, pid_file = tmp_path / "my-server", tmp_path / "pid"
    script.write_text(
        f'#!/bin/sh\n[ "$1" = --version ] && exec {OWN} --version\n'
        f'{OWN} "$@" & echo $! > {pid_file}\nwait\n'
    )
    script.chmod(0o755)
    server = EmbeddedNats(tmp_path / "nats", 0, rights=BotRights(), program=str(script))
    with pytest.raises(NatsServerFailed, match=r"A script must `exec` nats-server\."):
        await server.start()
    pid = int(pid_file.read_text())
    await until(lambda: not alive(pid))
    script.write_text(f'#!/bin/sh\nexec {OWN} "$@"\n')
    async with server:
        assert server.pid is not None
