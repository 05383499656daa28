"""`rosey-llm config convert`, as a user starts it."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from engine.cli import main
from tests.support.command_line import rosey
from tests.support.new_configurations import SHIPPED, files, written

KEY = "sk-live-4711"
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
