"""Nothing that strangers wrote acts on the terminal of the operator who reads it."""

from __future__ import annotations

import os
import pty
import subprocess
from pathlib import Path

import pytest
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import CollectorRegistry

from engine.monitoring.metrics.families import counters, gauges
from tests.support.command_line import COMMAND

CLI = Path(__file__).parents[2] / "engine" / "cli"
ACTS = "\x1b]0;title\x07"
WRITTEN = ACTS.replace("\x1b", "\\u001b").replace("\x07", "\\u0007")


def shown(folder: Path, *arguments: str) -> str:
    """Return what a command prints on a terminal."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [COMMAND, *arguments],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "NO_COLOR": "1"},
    ):
        os.close(theirs)
        text = b""
        try:
            while found := os.read(ours, 4096):
                text += found
        except OSError:  # the command has ended
            pass
        finally:
            os.close(ours)
    return text.decode()


@pytest.mark.process
@pytest.mark.parametrize(
    "configuration",
    [
        f'default_provider = "{WRITTEN}"',
        f'[log]\nlevel = "{WRITTEN}"',
        f'[storage]\n"{WRITTEN}" = 1',
        f'[storage]\nretention_days_by_channel = {{ "{WRITTEN}" = -1 }}',
    ],
    ids=["value", "choice", "key", "table"],
)
def test_an_error_in_the_configuration_shows_control_characters(
    tmp_path: Path, configuration: str
) -> None:
    (tmp_path / "rosey-llm.toml").write_text(configuration)
    for command in (["check"], ["run"]):
        said = shown(tmp_path, *command)
        assert "␛]0;title␇" in said
        assert "\x1b" not in said


@pytest.mark.process
def test_a_path_of_the_configuration_shows_control_characters(tmp_path: Path) -> None:
    (tmp_path / "rosey-llm.toml").write_text(f'[storage]\npath = "{WRITTEN}.db"')
    said = shown(tmp_path, "history", "channels")
    assert "There is no database at" in said
    assert "\x1b" not in said


def test_a_label_of_a_metric_shows_control_characters() -> None:
    class Ours:
        def collect(self) -> list[object]:
            values = [((ACTS,), 1.0)]
            return [gauges("a", "", ["model"], values), counters("b", "", ["model"], values)]

    registry = CollectorRegistry()
    registry.register(Ours())  # type: ignore[arg-type]
    page = generate_latest(registry).decode()
    assert page.count("\\\\u001b]0;title\\\\u0007") >= 2
    assert "\x1b" not in page


@pytest.mark.parametrize("file", sorted(CLI.glob("*.py")), ids=lambda file: file.stem)
def test_texts_for_people_are_printed_by_say(file: Path) -> None:
    """`click.echo` prints only what is already harmless: JSON, TOML of our own, an empty line."""
    allowed = ("orjson", "output.json", "click.echo(text, nl=False)", "nl=", "echo()", "echo(err")
    for line in file.read_text().splitlines():
        if "click.echo" in line and file.name not in ("say.py", "program.py"):
            assert any(each in line for each in allowed), line
