"""`rosey-llm init` and `rosey-llm config convert`, as a user starts them."""

from __future__ import annotations

import json
import os
import pty
import select
import stat
import tomllib
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from engine.cli import main
from engine.config import config_notes
from engine.config.loading import parse
from engine.config.setup import example
from engine.config.setup.public_room import GUARDED, LIMITS
from storage.new_file import new_file
from tests.support.command_line import COMMAND, read_until, rosey, utf8

ROOT = Path(__file__).parents[2]
SHIPPED = (ROOT / "rosey-llm.toml").read_text()
KEY = "sk-live-4711"


def files(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


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


def written(folder: Path, name: str = "rosey-llm.toml") -> dict[str, Any]:
    return tomllib.loads((folder / name).read_text())


@pytest.mark.process
def test_init_with_defaults_writes_the_commented_file_that_we_ship(tmp_path: Path) -> None:
    done = rosey(tmp_path, "init", "--defaults")
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "rosey-llm.toml").read_text() == SHIPPED


def test_the_shipped_file_goes_into_the_wheel_to_where_init_looks_for_it() -> None:
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    destination = wheel["targets"]["wheel"]["force-include"]["rosey-llm.toml"]
    assert ROOT / destination == example.PACKAGED


@pytest.mark.process
def test_empty_answers_give_the_defaults(tmp_path: Path) -> None:
    done = rosey(tmp_path, "init", said="\n" * 20)
    assert done.returncode == 0
    assert (tmp_path / "rosey-llm.toml").read_text() == SHIPPED


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
        ("ollama\n\n\nperhaps\n", "expected yes or no"),
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


OLD: dict[str, Any] = {
    "enabled": True,
    "default_provider": "openai",
    "service": {"max_context_messages": 12, "default_persona": "pirate"},
    "providers": {
        "ollama": {"base_url": "http://10.0.0.7:11434", "default_model": "mistral", "timeout": 90},
        "openai": {"api_key": "${OPENAI_API_KEY}", "default_model": "gpt-4o", "temperature": 0.2},
        "openrouter": {"site_url": "https://example.org", "site_name": "Example"},
    },
    "personas": {
        "pirate": "You are a pirate.\nAnswer as one.",
        "bob": {"system_prompt": "You are Bob.", "model": "gpt-4"},
    },
}


def convert(folder: Path, old: object) -> tuple[dict[str, Any], Result]:
    """Convert `old` in this process; return the new file's values and the result."""
    file = folder / "config.json"
    file.write_text(json.dumps(old))
    done = CliRunner().invoke(main, ["config", "convert", str(file)])
    return tomllib.loads(done.stdout), done


@pytest.mark.process
def test_the_configuration_of_the_plugin_is_converted(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(OLD))
    done = rosey(tmp_path, "config", "convert", "config.json")
    assert (done.returncode, done.stderr) == (0, "")
    values = tomllib.loads(done.stdout)
    assert values["default_provider"] == "openai"
    assert values["service"]["max_context_messages"] == 12
    for name, table in OLD["providers"].items():
        assert table.items() <= values["providers"][name].items()
    assert values["personas"] == {
        "pirate": {"prompt": "You are a pirate.\nAnswer as one."},
        "bob": {"prompt": "You are Bob.", "model": "gpt-4"},
    }
    assert done.stdout.startswith("# Made from config.json")
    assert done.stdout.count("# ") > SHIPPED.count("# ") - 5


def test_the_plugins_limits_become_those_of_its_service_api(tmp_path: Path) -> None:
    old = {"requests_per_minute": 5, "requests_per_hour": 50, "requests_per_day": None}
    values, done = convert(tmp_path, {"rate_limits": old | {"tokens_per_day": 9}})
    shipped = tomllib.loads(SHIPPED)["limits"]
    service = shipped["service"] | {"user_per_minute": 5, "user_per_hour": 50}
    assert values["limits"] == shipped | {"service": service}
    assert done.stderr.count("left out") == 1
    assert "rate_limits.tokens_per_day: left out: it never acted" in done.stderr


@pytest.mark.parametrize(
    ("old", "note"),
    [
        ([10], "rate_limits: left out: expected a table, got a list"),
        ({"requests_per_hour": 0}, "rate_limits.requests_per_hour: left out: 0 refused everything"),
        ({"requests_per_hour": -1}, "rate_limits.requests_per_hour: left out: expected"),
        ({"requests_per_hours": 9}, 'unknown key; did you mean "requests_per_hour"?'),
    ],
)
def test_a_limit_that_cannot_be_converted_is_named(tmp_path: Path, old: object, note: str) -> None:
    values, done = convert(tmp_path, {"rate_limits": old, "name": "kept"})
    assert values == tomllib.loads(SHIPPED) | {"name": "kept"}
    assert note in done.stderr


def test_an_empty_configuration_gives_the_defaults(tmp_path: Path) -> None:
    values, done = convert(tmp_path, {})
    assert values == tomllib.loads(SHIPPED)
    assert done.stderr == ""


@pytest.mark.process
def test_a_converted_file_is_written_once_and_the_service_can_use_it(tmp_path: Path) -> None:
    old = OLD | {"default_provider": "local", "nats": {"port": 0}}
    (tmp_path / "config.json").write_text(json.dumps(old))
    command = ("config", "convert", "config.json", "--output", "rosey-llm.toml")
    done = rosey(tmp_path, *command)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Persona: pirate." in rosey(tmp_path, "chat", said="persona\n").stdout
    (tmp_path / "config.json").write_text("{}")
    again = rosey(tmp_path, *command)
    assert (again.returncode, "exists. Use --force" in again.stderr) == (1, True)
    assert written(tmp_path)["default_provider"] == "local"
    assert rosey(tmp_path, *command, "--force").returncode == 0
    assert written(tmp_path) == tomllib.loads(SHIPPED)


@pytest.mark.parametrize(
    ("path", "variable"),
    [
        ("providers.openai.api_key", "OPENAI_API_KEY"),
        ("providers.openrouter.api_key", "OPENROUTER_API_KEY"),
        ("providers.ollama.api_key", "OLLAMA_API_KEY"),
        ("nats.password", "NATS_PASSWORD"),
        ("nats.token", "NATS_TOKEN"),
    ],
)
@pytest.mark.parametrize("literal", [KEY, f"Bearer ${{{KEY}}}", f"${{NAME:-{KEY}}}", f" {KEY}\n"])
def test_a_key_is_neither_written_nor_printed(
    tmp_path: Path, path: str, variable: str, literal: str
) -> None:
    value: Any = literal
    for name in reversed(path.split(".")):
        value = {name: value}
    values, done = convert(tmp_path, value)
    assert done.exit_code == 0
    assert KEY not in done.stdout + done.stderr
    found: Any = values
    for name in path.split("."):
        found = found[name]
    assert found == f"${{{variable}}}"
    assert f"{path}: " in done.stderr
    assert variable in done.stderr


@pytest.mark.parametrize(
    "old",
    [
        {"providers": {"openai": {"api_key": [KEY], "default_model": "m"}}},
        {"providers": {"openai": {"api_key": 4711_4711, "default_model": "m"}}},
        {"providers": {"openai": {"key": KEY, "default_model": "m"}}},
        {"providers": {"azure": {"api_key": KEY}, "openai": {"default_model": "m"}}},
        {"nats": {"url": f"nats://bob:{KEY}@host:4222"}},
        {"nats": {"url": f"nats://{KEY}@host:4222"}},
        {"providers": {"openai": {"base_url": f"https://u:{KEY}@host/v1", "default_model": "m"}}},
        {"providers": {"openai": {"base_url": f"https://host/v1?key={KEY}", "timeout": 1}}},
    ],
)
def test_a_key_in_the_wrong_place_is_not_shown_either(tmp_path: Path, old: object) -> None:
    _, done = convert(tmp_path, old)
    assert done.exit_code == 0
    assert "config.json: " in done.stderr  # something was said
    assert KEY not in done.stdout + done.stderr
    assert "47114711" not in done.stdout + done.stderr


def test_a_login_in_the_address_of_nats_moves_out_of_it(tmp_path: Path) -> None:
    values, _ = convert(tmp_path, {"nats": {"url": f"nats://bob:{KEY}@host:4222"}})
    nats = values["nats"]
    assert (nats["url"], nats["user"]) == ("nats://host:4222", "bob")
    assert nats["password"] == "${NATS_PASSWORD}"


def test_the_key_of_openai_is_not_given_to_another_server(tmp_path: Path) -> None:
    values, _ = convert(tmp_path, {"providers": {"openai": {"base_url": "http://other/v1"}}})
    assert values["providers"]["openai"]["api_key"] == ""


def test_a_key_in_a_file_need_not_be_there_when_the_configuration_is_converted(
    tmp_path: Path,
) -> None:
    key = "${file:/run/secrets/openai}"
    values, done = convert(tmp_path, {"providers": {"openai": {"api_key": key}}})
    assert (done.exit_code, done.stderr) == (0, "")
    assert values["providers"]["openai"]["api_key"] == key


@pytest.mark.parametrize(
    ("old", "note"),
    [
        ({"service": {"max_context_mesages": 3}}, 'did you mean "max_context_messages"?'),
        ({"max_context_messages": 3}, 'did you mean "service.max_context_messages"?'),
        ({"service": {"max_context_messages": "3"}}, 'expected a whole number, got "3"'),
        ({"service": {"default_persona": "nobody"}}, 'unknown persona "nobody"'),
        ({"service": []}, "service: left out: expected a table, got a list"),
        ({"default_provider": "azure"}, 'unknown provider "azure"'),
        ({"enabled": "yes"}, 'enabled: left out: expected true or false, got "yes"'),
        ({"providers": {"ollama": {"timeout": "soon"}}}, "providers.ollama.timeout: left out"),
        ({"providers": {"azure": {}}}, 'providers.azure: left out: unknown kind "azure"'),
        ({"providers": {"ollama": {"kind": "openai"}}}, 'kind: expected "ollama", got "openai"'),
        ({"providers": {"x": {"kind": 1}}}, "providers.x.kind: left out: expected a string"),
        ({"providers": {"ollama": 1}}, "providers.ollama: left out: expected a table, got 1"),
        ({"providers": 1}, "providers: left out: expected a table, got 1"),
        ({"personas": {"two words": "x"}}, "expected a name of one word"),
        ({"personas": {"x": 5}}, "personas.x: left out: expected a prompt or a table"),
        ({"personas": {"x": {"model": "m"}}}, "personas.x.prompt: left out: expected a string"),
        ({"a\x1b[31mb": 1}, "a␛[31mb: left out: unknown key"),
    ],
)
def test_a_value_that_cannot_be_converted_is_named_and_the_rest_is_converted(
    tmp_path: Path, old: dict[str, Any], note: str
) -> None:
    values, done = convert(tmp_path, old | {"name": "kept"})
    assert done.exit_code == 0
    assert [line for line in done.stderr.splitlines() if note in line], done.stderr
    assert values == tomllib.loads(SHIPPED) | {"name": "kept"}


@pytest.mark.parametrize("content", [b"", b'{"a', b"[1]", b"\xff", b"[" * 5000])
def test_a_file_that_is_no_configuration_ends_with_3(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "config.json"
    file.write_bytes(content)
    command = ["config", "convert", str(file), "-o", str(tmp_path / "new.toml")]
    done = CliRunner().invoke(main, command)
    assert (done.exit_code, done.stdout) == (3, "")
    assert done.stderr.startswith(f"{file}: ")
    assert files(tmp_path) == ["config.json"]


def test_a_json_file_of_something_else_is_refused(tmp_path: Path) -> None:
    _, done = convert(tmp_path, {"compilerOptions": {}})
    assert done.exit_code == 1
    assert "Is it the plugin's configuration?" in done.stderr
    assert done.stdout == ""


@pytest.mark.process
@pytest.mark.parametrize(
    ("name", "why"), [("nope.json", "No such file or directory"), (".", "Is a directory")]
)
def test_a_file_that_cannot_be_read_ends_with_3(tmp_path: Path, name: str, why: str) -> None:
    done = rosey(tmp_path, "config", "convert", name)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == f"{name}: cannot be read: {why}\n"


@pytest.mark.process
def test_a_byte_order_mark_is_accepted(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes(b'\xef\xbb\xbf{"name": "kept"}')
    done = rosey(tmp_path, "config", "convert", "config.json")
    assert tomllib.loads(done.stdout)["name"] == "kept"


@pytest.mark.process
def test_convert_copies_no_header_parameter_or_login_of_a_proxy(tmp_path: Path) -> None:
    table = {
        "headers": {"api-key": KEY, "X-Ours": "${OURS}"},
        "query": {"code": KEY},
        "proxy": f"http://jo:{KEY}@proxy:3128",
        "ca_file": "ca.pem",
    }
    (tmp_path / "config.json").write_text(json.dumps({"providers": {"openai": table}}))
    command = ("config", "convert", "config.json", "--output", "rosey-llm.toml")
    done = rosey(tmp_path, *command)
    openai = written(tmp_path)["providers"]["openai"]
    assert openai["headers"] == {"api-key": "${OPENAI_HEADERS_API_KEY}", "X-Ours": "${OURS}"}
    assert openai["query"] == {"code": "${OPENAI_QUERY_CODE}"}
    assert openai["proxy"] == "${OPENAI_PROXY}"
    assert "ca_file: left out: expected a file of certificates" in done.stdout + done.stderr
    everything = done.stdout + done.stderr + (tmp_path / "rosey-llm.toml").read_text()
    assert KEY not in everything
    assert "proxy:3128" not in everything


def test_a_value_that_replaces_a_commented_default_keeps_what_the_line_says_about_it() -> None:
    changed = example.Example()
    changed.put(("providers", "ollama", "first_content_timeout"), 90)
    changed.put(("providers", "ollama", "timeout"), 5)
    assert changed.values["providers"]["ollama"]["first_content_timeout"] == 90
    assert "\nfirst_content_timeout = 90  # Ollama loads the model first\n" in changed.text
    assert "\ntimeout = 5\n" in changed.text
