from __future__ import annotations

import dataclasses
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from engine.config import loading
from engine.config.channel_rules import ChannelRule
from engine.config.personas import Personas
from engine.config.settings import NatsUserSettings, Settings
from engine.errors import CannotStart
from providers import registry
from providers.base import ProviderConfig
from providers.validation import ValidationError

EXAMPLE = Path(__file__).parents[2] / "rosey-llm.toml"


def problem(tmp_path: Path, text: str) -> str:
    file = tmp_path / "rosey-llm.toml"
    file.write_text(text)
    with pytest.raises(CannotStart) as caught:
        loading.load(file)
    message = str(caught.value)
    assert message.startswith(f"{file}: ")
    return message.removeprefix(f"{file}: ")


def test_the_shipped_file_has_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENROUTER_API_KEY", raising=False)
    example = loading.load(EXAMPLE)
    defaults = loading.parse({}, EXAMPLE.parent)
    assert dataclasses.replace(example, providers={}) == defaults
    for name in example.providers:
        provider = registry.build(name, example.provider_table(name))
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


def test_the_shipped_file_has_every_key() -> None:
    text = EXAMPLE.read_text()
    values = tomllib.loads(text)
    missing = ["channels.rules", "nats.users", "personas", "texts"]
    assert missing_keys(Settings(), values) == missing
    assert "[personas.pirate]" in text
    assert "\n# [texts]\n" in text
    rule = text.split("\n# [[channels.rules]]\n")[1].split("\n\n")[0]
    shown = re.findall(r"(?m)^# (\w+) = ", rule)
    assert {each.name for each in dataclasses.fields(ChannelRule)} == {"match", *shown}
    user = text.split("\n# [[nats.users]]\n")[1].split("\n\n")[0]
    shown = re.findall(r"(?m)^# (\w+) = ", user)
    assert set(shown) == {each.name for each in dataclasses.fields(NatsUserSettings)}


# For these, None has a meaning that a file cannot say.
SHOWN_FOR_NONE = {"first_content_timeout": 60.0, "temperature": 0.7, "max_tokens": 1024}


def test_a_commented_line_of_the_shipped_file_shows_the_default() -> None:
    tables = EXAMPLE.read_text().split("\n[providers.ollama]\n")[1].split("\n\n# Another")[0]
    values = tomllib.loads(
        "[ollama]\n" + re.sub(r"(?m)^# ", "", tables).replace("[providers.", "[")
    )
    assert values.keys() == tomllib.loads(EXAMPLE.read_text())["providers"].keys()
    for name, section in values.items():
        default = registry.find(name).Config()
        for key, value in section.items():
            meant = getattr(default, key)
            if key != "api_key":
                assert value == (SHOWN_FOR_NONE[key] if meant is None else meant), (name, key)


@pytest.mark.parametrize("name", ["ollama", "openai", "openrouter", "local"])
def test_the_shipped_file_sets_no_default_that_may_change(name: str) -> None:
    section = tomllib.loads(EXAMPLE.read_text())["providers"][name]
    assert not section.keys() & {field.name for field in dataclasses.fields(ProviderConfig)} - {
        "default_model"
    }


def test_the_defaults_are_those_of_the_system_we_replace(tmp_path: Path) -> None:
    defaults = loading.load(EXAMPLE)
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
        (
            "[providers.local]\ndefault_provider = 'local'",
            "providers.local.default_provider: unknown key; it belongs at the top of the file",
        ),
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
        ("fallback_on = 'all'", 'fallback_on: expected "passing" or "any", got "all"'),
        ("fallback_on = true", 'fallback_on: expected "passing" or "any", got true'),
        ("[service]\ndefault_persona = 'concice'", 'unknown persona "concice"; did you mean'),
        ("[personas.pirate]", "personas.pirate.prompt: missing"),
        ("[personas.p]\npromt = 'x'", 'personas.p.promt: unknown key; did you mean "prompt"?'),
        (
            "[personas.Default]\ntemperature = 0.2",
            "personas.Default.prompt: missing; a built-in persona is replaced as a whole",
        ),
        ("[personas.'two words']\nprompt = 'x'", "personas.two words: expected a name of one word"),
        ("[personas.p]\nprompt = 'x'\ntemperature = 3", "personas.p.temperature: expected 0 to 2"),
        ("[nats]\nurl = 'localhost'", 'nats.url: expected "embedded" or an address such as'),
        ("[nats]\nurl = 'nat://jo:sesame@host'", 'got "nat://***@host"'),
        ("[nats]\nurl = 'nats:/jo:sesame@host'", 'got "***@host"'),
        ("[nats]\nurl = 'jo:ses//ame@host'", 'got "***@host"'),
        ("[nats]\ntls_ca = '~no-such-user/x'", "nats.tls_ca: expected a path, got"),
        ("[providers]\nopenai = 3", "providers.openai: expected a table, got 3"),
        ("default_provider = 'no_such_module:A'", "default_provider: cannot import"),
        (
            "[personas.Pirate]\nprompt = 'x'\n[personas.PIRATE]\nprompt = 'y'",
            "personas.PIRATE: the same as personas.Pirate; names are matched without",
        ),
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
def test_an_error_names_the_key_and_what_was_expected(
    tmp_path: Path, text: str, expected: str
) -> None:
    assert expected in problem(tmp_path, text)


def test_a_missing_file_is_reported(tmp_path: Path) -> None:
    with pytest.raises(CannotStart, match="cannot be read"):
        loading.load(tmp_path / "none.toml")


def test_keys_come_from_the_environment_or_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", "from-env")
    (tmp_path / "key").write_text("from-file\n")
    loaded = loading.parse(
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
    loaded = loading.parse({"nats": {"password": "${MY_KEY}"}}, Path())
    provider = registry.build("openai", {"api_key": "sesame"})
    assert "sesame" not in repr(loaded) + repr(provider.config) + repr(provider)


PATHS = """
[storage]
path = "PLACE/x.db"
[nats]
store_dir = "PLACE/nats"
credentials = "PLACE/me.creds"
tls_ca = "PLACE/ca.pem"
tls_cert = "PLACE/cert.pem"
tls_key = "PLACE/key.pem"
password = "${file:PLACE/password}"
[providers.local]
model_path = "PLACE/tiny.gguf"
[providers.small]
kind = "local"
"""


@pytest.mark.parametrize("place", ["below", "~"])
def test_paths_start_at_the_files_folder_or_at_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    folder = tmp_path / "below"
    folder.mkdir()
    (folder / "password").write_text("sesame\n")
    monkeypatch.setenv("HOME", str(folder))
    file = tmp_path / "rosey-llm.toml"
    file.write_text(PATHS.replace("PLACE", place))
    loaded = loading.load(file)
    nats = loaded.nats
    assert loaded.storage.path == str(folder / "x.db")
    assert nats.store_dir == str(folder / "nats")
    assert nats.credentials == str(folder / "me.creds")
    tls = [str(folder / name) for name in ("ca.pem", "cert.pem", "key.pem")]
    assert [nats.tls_ca, nats.tls_cert, nats.tls_key] == tls
    assert nats.password == "sesame"
    assert loaded.provider_table("local")["model_path"] == str(folder / "tiny.gguf")
    assert "model_path" not in loaded.provider_table("small")


def test_an_empty_path_stays_empty(tmp_path: Path) -> None:
    loaded = loading.parse({"providers": {"local": {"model_path": ""}}}, tmp_path)
    assert loaded.nats.credentials == loaded.nats.tls_ca == ""
    assert loaded.provider_table("local")["model_path"] == ""


def test_a_file_that_is_not_utf_8_is_reported(tmp_path: Path) -> None:
    file = tmp_path / "rosey-llm.toml"
    file.write_bytes(b"name = '\xff'")
    with pytest.raises(CannotStart) as caught:
        loading.load(file)
    assert str(caught.value) == f"{file}: not UTF-8: invalid start byte at byte 8"


def test_a_configured_persona_replaces_a_built_in_one_in_any_case(tmp_path: Path) -> None:
    loaded = loading.parse({"personas": {"CONCISE": {"prompt": "Hm."}}}, tmp_path)
    personas = Personas(loaded.personas)
    assert personas.get("concise")[1].prompt == "Hm."
    assert personas.names == ["default", "concise", "technical", "creative"]


PARROT = """
from providers.scripted import ScriptedProvider

class Parrot(ScriptedProvider):
    kind = "parrot"
"""


@pytest.mark.parametrize("name", ["settings_parrot", "settings_parrots:Parrot"])
def test_a_packages_provider_needs_no_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / "settings_parrots.py").write_text(PARROT)
    info = tmp_path / "parrots-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: parrots\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[rosey_llm.providers]\nsettings_parrot = settings_parrots:Parrot\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    loaded = loading.parse({"default_provider": name, "fallback_providers": [name]}, tmp_path)
    assert registry.build(name, loaded.provider_table(name)).kind == "parrot"


@pytest.mark.parametrize(
    ("name", "variable"), [("openai", "OPENAI_API_KEY"), ("openrouter", "OPENROUTER_API_KEY")]
)
@pytest.mark.parametrize(
    ("values", "key"),
    [
        (None, "from-env"),
        ({}, "from-env"),
        ({"api_key": ""}, "from-env"),
        ({"api_key": "own"}, "own"),
        ({"base_url": "http://localhost:8000/v1"}, None),
        ({"base_url": "https://api.openai.com.example/v1"}, None),
        ({"kind": "ollama"}, None),
    ],
)
def test_the_environments_key_is_for_the_default_address_of_its_kind_alone(
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    variable: str,
    values: dict[str, str] | None,
    key: str | None,
) -> None:
    monkeypatch.setenv(variable, "from-env")
    loaded = loading.parse({"providers": {} if values is None else {name: values}}, Path())
    assert loaded.provider_table(name).get("api_key") == key
    assert "from-env" not in repr(loaded)


async def test_the_error_for_a_missing_key_says_where_to_set_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    elsewhere = {"kind": "openai", "base_url": "https://api.openai.com/v2"}
    loaded = loading.parse({"providers": {"mine": elsewhere}}, Path())
    details = []
    for name in ("openai", "mine"):
        async with registry.build(name, loaded.provider_table(name)) as provider:
            details.append((await provider.status()).detail)
    assert details == [
        "OpenAI needs an API key: set providers.openai.api_key "
        "(or OPENAI_API_KEY in the service's environment)",
        "OpenAI needs an API key: set providers.mine.api_key",
    ]


def test_a_key_from_the_environment_that_cannot_be_sent_is_reported_at_the_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "two\nlines")
    with pytest.raises(ValidationError, match=r"^providers\.openai\.api_key: "):
        loading.parse({"default_provider": "openai"}, Path())


def test_several_providers_of_a_kind_are_told_apart_by_their_tables(tmp_path: Path) -> None:
    loaded = loading.parse(
        {
            "default_provider": "vllm",
            "providers": {"vllm": {"kind": "openai", "base_url": "http://localhost:8000/v1"}},
        },
        tmp_path,
    )
    provider = registry.build("vllm", loaded.provider_table("vllm"))
    assert (provider.name, provider.kind) == ("vllm", "openai")
