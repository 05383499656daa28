"""`rosey-llm init`, as a user starts it."""

from __future__ import annotations

import os
import pty
import select
import stat
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from engine.cli import main
from engine.config import config_notes
from engine.config.loading import parse
from engine.config.setup import example
from engine.config.setup.interview import Interview
from engine.config.setup.public_room import GUARDED, LIMITS
from storage.new_file import new_file
from tests.support.command_line import COMMAND, read_until, rosey, utf8
from tests.support.new_configurations import ROOT, SHIPPED, files, written


def press_until(terminal: int, key: bytes, text: str) -> None:
    """Press Ctrl-C again until it works: Python misses one just before it reads."""
    shown, decoder = "", utf8()
    for _ in range(30):
        os.write(terminal, key)
        while text not in shown and select.select([terminal], [], [], 2)[0]:
            shown += decoder.decode(os.read(terminal, 4096))
        if text in shown:
            return
    raise AssertionError(shown)


@pytest.mark.process
def test_init_with_defaults_writes_the_commented_file_that_we_ship(tmp_path: Path) -> None:
    done = rosey(tmp_path, "init", "--defaults")
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "rosey-llm.toml").read_text() == SHIPPED


def test_the_shipped_file_goes_into_the_wheel_to_where_init_looks_for_it() -> None:
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    destination = wheel["targets"]["wheel"]["force-include"]["rosey-llm.toml"]
    assert ROOT / destination == example.PACKAGED


def test_empty_answers_give_the_defaults(tmp_path: Path) -> None:
    def ask(_: str, default: str | None, take: Callable[[str], object]) -> None:
        assert default is not None
        take(default)

    # Without a look at the port of Ollama, where one may answer on this machine.
    assert Interview(ask, tmp_path).hold().text == SHIPPED


@pytest.mark.process
def test_init_takes_its_answers_from_a_pipe_and_keeps_the_comments(tmp_path: Path) -> None:
    answers = ["openai", "gpt-5", "no", 'Bob "the \\ bot"', "technical", "7", "nats://h:4222", "/d"]
    answers += ["yes", "discord/1, discord/2", "moderator"]
    done = rosey(tmp_path, "init", "-o", "my.toml", said="\n".join(answers))
    assert done.returncode == 0
    assert "export OPENAI_API_KEY=" in done.stdout
    assert "rosey-llm check --config my.toml" in done.stdout
    values = written(tmp_path, "my.toml")
    assert (values["default_provider"], values["fallback_providers"]) == ("openai", [])
    assert values["providers"]["openai"]["default_model"] == "gpt-5"
    assert values["providers"]["openai"]["api_key"] == "${OPENAI_API_KEY}"
    assert values["service"]["bot_name"] == 'Bob "the \\ bot"'
    assert values["service"]["default_persona"] == "technical"
    assert values["service"]["max_context_messages"] == 7
    assert (values["nats"]["url"], values["nats"]["store_dir"]) == ("nats://h:4222", "/d/nats")
    assert values["storage"]["path"] == "/d/rosey-llm.db"
    assert values["permissions"] | dict.fromkeys(GUARDED, "moderator") == values["permissions"]
    assert values["permissions"]["admins"] == ["discord/1", "discord/2"]
    assert values["permissions"]["trust_roles"] is True
    assert values["limits"] | LIMITS == values["limits"]
    text = (tmp_path / "my.toml").read_text()
    assert text.count("#") >= SHIPPED.count("#")


@pytest.mark.parametrize(
    ("said", "trusted", "role"),
    [("moderator", True, "moderator"), ("admin", False, "admin"), ("*", False, "*")],
)
def test_what_a_public_room_gets_works_and_leaves_nothing_to_note(
    tmp_path: Path, said: str, trusted: bool, role: str
) -> None:
    file = tmp_path / "new.toml"
    answers = "local\n\n\n\n\n\nyes\ntwitch/7\n" + said + "\n"
    done = CliRunner().invoke(main, ["init", "-o", str(file)], input=answers)
    assert done.exit_code == 0, done.stderr
    settings = parse(tomllib.loads(file.read_text()), tmp_path)
    assert settings.permissions.trust_roles is trusted
    assert settings.permissions.admins == ("twitch/7",)
    assert {getattr(settings.permissions, key) for key in GUARDED} == {role}
    assert config_notes.notes(settings) == []


@pytest.mark.process
def test_what_init_wrote_is_what_check_and_chat_use(tmp_path: Path) -> None:
    assert rosey(tmp_path, "init", said="local\nBeth\nconcise\n").returncode == 1
    assert rosey(tmp_path, "init", said="local\nBeth\nconcise\n" + "\n" * 9).returncode == 0
    file = tmp_path / "rosey-llm.toml"
    file.write_text(file.read_text().replace("\nport = 4222 ", "\nport = 0 "))  # it may be taken
    done = rosey(tmp_path, "check")
    assert done.returncode == 0, done.stdout
    assert "Persona: concise." in rosey(tmp_path, "chat", said="persona\n").stdout


@pytest.mark.process
def test_an_address_becomes_a_provider_of_its_own(tmp_path: Path) -> None:
    done = rosey(tmp_path, "init", said="http://127.0.0.1:9/v1\ntiny\n" + "\n" * 9)
    assert done.returncode == 0
    values = written(tmp_path)
    assert values["default_provider"] == "server"
    assert values["providers"]["server"] == {
        "kind": "openai",
        "base_url": "http://127.0.0.1:9/v1",
        "api_key": "${ROSEY_LLM_SERVER_KEY}",
        "default_model": "tiny",
    }
    assert "provider server" in rosey(tmp_path, "check").stdout


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ("olama\n", 'unknown: "olama"; did you mean "ollama"?'),
        ("http://\n", "expected an address"),
        ("ollama\nlocalhost\n", "expected an address"),
        ("local\n\npirate\n", 'unknown persona "pirate"'),
        ("local\n\n\nmany\n", 'expected a whole number, got "many"'),
        ("local\n\n\n0\n", "expected 1 or more, got 0"),
        ("local\n\n\n\nhost:4222\n", 'expected "embedded" or an address'),
        ("local\n\n\n\nnats://bob:secret@host\n", "leave the login out"),
        ("ollama\nhttp://127.0.0.1:9\n\nperhaps\n", "expected yes or no"),
        ("local\n\n\n\n\n\nyes\nnone\nadmin\n", "without an admin, nobody could do it"),
        (f"local\n\n\n\n\n\nyes\nnone\n{'m' * 65}\n", "expected at most 64 characters"),
    ],
)
def test_a_wrong_answer_in_a_pipe_is_reported_and_nothing_is_written(
    tmp_path: Path, said: str, problem: str
) -> None:
    command = ["init", "-o", str(tmp_path / "new.toml")]
    done = CliRunner().invoke(main, command, input=said + "\n" * 20)
    assert done.exit_code == 1
    assert problem in done.stderr
    assert "Nothing was written." in done.stderr
    assert files(tmp_path) == []


@pytest.mark.process
@pytest.mark.parametrize("said", ["", "local\nBeth\n\n"])
def test_the_end_of_the_input_leaves_no_file(tmp_path: Path, said: str) -> None:
    done = rosey(tmp_path, "init", said=said)
    assert (done.returncode, done.stdout.endswith(": ")) == (1, True)
    assert "Nothing was written." in done.stderr
    assert files(tmp_path) == []


@pytest.mark.process
def test_a_person_is_asked_again_and_ctrl_c_leaves_no_file(tmp_path: Path) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(tmp_path)
        os.execv(COMMAND, [COMMAND, "init"])
    try:
        read_until(terminal, "[ollama]: ")
        os.write(terminal, b"olama\n")
        assert 'did you mean "ollama"?' in read_until(terminal, "[ollama]: ")
        os.write(terminal, b"openrouter\n")
        read_until(terminal, "[anthropic/")
        press_until(terminal, b"\x03", "Nothing was written.")
        _, status = os.waitpid(pid, 0)
        assert os.waitstatus_to_exitcode(status) == 1
    finally:
        os.close(terminal)
    assert files(tmp_path) == []


@pytest.mark.process
def test_an_existing_file_is_kept_unless_force_is_given(tmp_path: Path) -> None:
    file = tmp_path / "rosey-llm.toml"
    file.write_text("name = 'mine'\n")
    file.chmod(0o640)
    done = rosey(tmp_path, "init", "--defaults")
    assert (done.returncode, file.read_text()) == (1, "name = 'mine'\n")
    assert done.stderr == "rosey-llm.toml exists. Use --force to replace it.\n"
    assert rosey(tmp_path, "init", "--defaults", "--force").returncode == 0
    assert file.read_text() == SHIPPED
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert files(tmp_path) == ["rosey-llm.toml"]


@pytest.mark.process
def test_a_link_is_followed_and_a_device_is_written_to(tmp_path: Path) -> None:
    (tmp_path / "link.toml").symlink_to("real.toml")
    assert rosey(tmp_path, "init", "--defaults", "-o", "link.toml").returncode == 0
    assert (tmp_path / "link.toml").is_symlink()
    assert (tmp_path / "real.toml").read_text() == SHIPPED
    assert rosey(tmp_path, "init", "--defaults", "-o", "/dev/null").returncode == 0
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


@pytest.mark.process
def test_a_missing_folder_is_reported(tmp_path: Path) -> None:
    done = rosey(tmp_path, "init", "--defaults", "-o", "no/where.toml")
    assert done.returncode == 1
    assert done.stderr == "no/where.toml was not written: No such file or directory.\n"


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    file = tmp_path / "rosey-llm.toml"
    file.write_text("old")
    with pytest.raises(UnicodeEncodeError), new_file(file, replace=True) as opened:
        opened.write("new \ud800".encode())
    assert (file.read_text(), files(tmp_path)) == ("old", ["rosey-llm.toml"])


def test_a_value_that_replaces_a_commented_default_keeps_what_the_line_says_about_it() -> None:
    changed = example.Example()
    changed.put(("providers", "ollama", "first_content_timeout"), 90)
    changed.put(("providers", "ollama", "timeout"), 5)
    assert changed.values["providers"]["ollama"]["first_content_timeout"] == 90
    assert "\nfirst_content_timeout = 90  # Ollama loads the model first\n" in changed.text
    assert "\ntimeout = 5\n" in changed.text
