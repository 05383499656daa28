from __future__ import annotations

import dataclasses
import tomllib
from pathlib import Path
from typing import Any

import pytest

from engine import settings
from engine.errors import CannotStart
from engine.settings import Settings
from providers import table

EXAMPLE = Path(__file__).parents[2] / "rosey-llm.toml"


def problem(tmp_path: Path, text: str) -> str:
    file = tmp_path / "rosey-llm.toml"
    file.write_text(text)
    with pytest.raises(CannotStart) as caught:
        settings.load(file)
    message = str(caught.value)
    assert message.startswith(f"{file}: ")
    return message.removeprefix(f"{file}: ")


def test_the_example_file_says_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENROUTER_API_KEY", raising=False)
    example = settings.load(EXAMPLE)
    defaults = settings.parse({}, EXAMPLE.parent)
    assert dataclasses.replace(example, providers={}) == defaults
    for name in example.providers:
        provider = table.build(name, example.provider_table(name))
        assert provider.config == type(provider).Config(), name


def missing_keys(record: Any, values: dict[str, Any], path: str = "") -> list[str]:
    missing = []
    for field in dataclasses.fields(record):
        value = getattr(record, field.name)
        if field.name not in values:
            missing.append(path + field.name)
        elif dataclasses.is_dataclass(value):
            missing += missing_keys(value, values[field.name], f"{path}{field.name}.")
    return missing


def test_the_example_file_has_every_key() -> None:
    text = EXAMPLE.read_text()
    values = tomllib.loads(text)
    assert missing_keys(Settings(), values) == ["personas"]
    assert "[personas.pirate]" in text
    for name, section in values["providers"].items():
        # A key without a default stands as a comment.
        part = text.split(f"[providers.{name}]")[1].split("\n[")[0]
        for field in dataclasses.fields(table.find(name).Config):
            assert field.name in section or f"# {field.name} = " in part + text, field.name


def test_the_defaults_are_those_of_the_system_we_replace(tmp_path: Path) -> None:
    defaults = settings.load(EXAMPLE)
    assert defaults.service.max_context_messages == 10
    assert defaults.service.default_persona == "default"
    openai = defaults.provider_table("openai")
    assert (openai["base_url"], openai["default_model"]) == ("https://api.openai.com/v1", "gpt-4")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[service\n", "not TOML: "),
        ("enabled = 1", "enabled: expected true or false, got 1"),
        ('enabled = "false"', 'enabled: expected true or false, got "false"'),
        ("nmae = 'x'", 'nmae: unknown key; did you mean "name"?'),
        ("[service]\nmax_context_messages = 0", "service.max_context_messages: expected 1 or more"),
        ("[servcie]", 'servcie: unknown key; did you mean "service"?'),
        ("service = 3", "service: expected a table, got 3"),
        (
            "[providers.openai]\ntimeout = 'soon'",
            "providers.openai.timeout: expected a number, got",
        ),
        (
            "[providers.openai]\ntimeout = -1",
            "providers.openai.timeout: expected more than 0, got -1",
        ),
        ("[providers.openai]\nbase = 'x'", "providers.openai.base: unknown key"),
        ("[providers.openai]\nbase_url = 'x'", "providers.openai.base_url: "),
        ("[providers.mine]\nkind = 'olama'", 'providers.mine.kind: unknown kind "olama"'),
        ("default_provider = 'olama'", 'default_provider: unknown provider "olama"; did you mean'),
        ("fallback_providers = ['x']", 'fallback_providers[0]: unknown provider "x"'),
        ("fallback_providers = 'local'", "fallback_providers: expected a list"),
        ("[service]\ndefault_persona = 'concice'", 'unknown persona "concice"; did you mean'),
        ("[personas.pirate]", "personas.pirate.prompt: missing"),
        ("[personas.'two words']\nprompt = 'x'", "personas.two words: expected a name of one word"),
        ("[personas.p]\nprompt = 'x'\ntemperature = 3", "personas.p.temperature: expected 0 to 2"),
        ("[nats]\nurl = 'localhost'", 'nats.url: expected "embedded" or nats://..., got'),
        ("[nats]\nport = 70000", "nats.port: expected 0 to 65535, got 70000"),
        ("[nats.subjects]\nchat = 'a.*'", "nats.subjects.chat: expected a subject without wild"),
        ("[nats.subjects]\nchat = 'llm.error'", '"llm.error" is used twice'),
        ("[storage]\ndurability = 'none'", 'storage.durability: expected "full" or "normal", got'),
        ("[log]\nlevel = 'loud'", "log.level: expected "),
        (
            "[providers.openai]\napi_key = '${file:/no/such}'",
            "providers.openai.api_key: expected a",
        ),
    ],
)
def test_what_is_wrong_is_said_with_its_path_and_the_expectation(
    tmp_path: Path, text: str, expected: str
) -> None:
    assert expected in problem(tmp_path, text)


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(CannotStart, match="cannot be read"):
        settings.load(tmp_path / "none.toml")


def test_keys_come_from_the_environment_or_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", "from-env")
    (tmp_path / "key").write_text("from-file\n")
    loaded = settings.parse(
        {
            "providers": {
                "openai": {"api_key": "${MY_KEY}"},
                "openrouter": {"api_key": f"${{file:{tmp_path}/key}}"},
            }
        },
        tmp_path,
    )
    keys = [loaded.provider_table(name)["api_key"] for name in ("openai", "openrouter")]
    assert keys == ["from-env", "from-file"]


def test_no_repr_of_the_settings_shows_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "sesame")
    loaded = settings.parse({"nats": {"password": "${MY_KEY}"}}, Path())
    provider = table.build("openai", {"api_key": "sesame"})
    assert "sesame" not in repr(loaded) + repr(provider.config) + repr(provider)


def test_paths_start_at_the_files_folder(tmp_path: Path) -> None:
    loaded = settings.parse({"storage": {"path": "x.db"}}, tmp_path)
    assert loaded.storage.path == str(tmp_path / "x.db")


def test_several_providers_of_a_kind_are_told_apart_by_their_tables(tmp_path: Path) -> None:
    loaded = settings.parse(
        {
            "default_provider": "vllm",
            "providers": {"vllm": {"kind": "openai", "base_url": "http://localhost:8000/v1"}},
        },
        tmp_path,
    )
    provider = table.build("vllm", loaded.provider_table("vllm"))
    assert (provider.name, provider.kind) == ("vllm", "openai")
