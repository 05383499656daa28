from pathlib import Path

import pytest

from providers import registry
from providers.base import LLMProvider, Options
from providers.scripted import ScriptedProvider
from providers.validation import ValidationError

PLUGIN = """
from collections.abc import Sequence
from dataclasses import dataclass
from providers.base import Completion, LLMProvider, Message, Options, ProviderConfig

@dataclass(frozen=True, kw_only=True)
class ParrotConfig(ProviderConfig):
    volume: int = 1

class Parrot(LLMProvider):
    kind = "parrot"
    Config = ParrotConfig

    async def chat(self, messages, options):
        return Completion(messages[-1].content * self.config.volume, "parrot")

    async def is_available(self):
        return True

class Egg(LLMProvider):
    async def chat(self, messages, options):
        raise NotImplementedError

not_a_class = 3
"""


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on the import path that has an installed package with a provider."""
    (tmp_path / "parrots.py").write_text(PLUGIN)
    (tmp_path / "broken_parrots.py").write_text("class Parrot(:\n")
    (tmp_path / "hungry_parrots.py").write_text("import no_such_food\n")
    (tmp_path / "dead_parrots.py").write_text("pining = for_fjords\n")
    (tmp_path / "gone_parrots.py").write_text("raise SystemExit(3)\n")
    info = tmp_path / "parrots-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: parrots\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[rosey_llm.providers]\nparrot = parrots:Parrot\n")
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_the_known_kinds_are_ours_and_those_of_packages(elsewhere: Path) -> None:
    assert registry.known() == ["local", "ollama", "openai", "openrouter", "parrot", "scripted"]


@pytest.mark.parametrize("kind", registry.KINDS)
def test_every_kind_of_ours_is_a_provider_of_that_kind(kind: str) -> None:
    assert registry.find(kind).kind == kind


def test_a_plugin_is_found_by_its_entry_point(elsewhere: Path) -> None:
    assert registry.find("parrot").__name__ == "Parrot"


async def test_a_kind_can_be_the_address_of_a_class(elsewhere: Path) -> None:
    provider = registry.build("polly", {"kind": "parrots:Parrot", "volume": 2})
    assert provider.name == "polly"
    assert (await provider.complete("hi", Options())).content == "hihi"


@pytest.mark.parametrize(
    ("kind", "problem"),
    [
        ("olama", 'unknown kind "olama"; did you mean "ollama"?'),
        ("parot", 'unknown kind "parot"; did you mean "parrot"?'),
        (
            "xyz",
            'unknown kind "xyz"; use local, ollama, openai, openrouter, parrot, scripted '
            'or "package.module:Class"',
        ),
        (
            "no_such_module:A",
            'cannot import "no_such_module:A": no module "no_such_module" is installed',
        ),
        (
            "hungry_parrots:Parrot",
            "cannot import \"hungry_parrots:Parrot\": No module named 'no_such_food'",
        ),
        (
            "dead_parrots:Parrot",
            "cannot import \"dead_parrots:Parrot\": NameError: name 'for_fjords' is not defined",
        ),
        ("gone_parrots:Parrot", 'cannot import "gone_parrots:Parrot": SystemExit: 3'),
        ("parrots:Owl", '"parrots" has no class "Owl"'),
        ("parrots:", '"parrots" has no class ""'),
        (":Parrot", 'cannot import ":Parrot": Empty module name'),
        ("parrots:not_a_class", '"parrots:not_a_class" is not an LLMProvider'),
        ("parrots:dataclass", '"parrots:dataclass" is not an LLMProvider'),
        ("parrots:Egg", '"parrots:Egg" does not define is_available'),
        (
            "providers.base:LLMProvider",
            '"providers.base:LLMProvider" does not define chat, is_available',
        ),
    ],
)
def test_a_wrong_kind_is_explained_in_a_sentence(elsewhere: Path, kind: str, problem: str) -> None:
    with pytest.raises(ValidationError) as caught:
        registry.build("mine", {"kind": kind})
    assert str(caught.value) == f"providers.mine.kind: {problem}"


def test_a_module_with_a_syntax_error_is_reported(elsewhere: Path) -> None:
    with pytest.raises(ValidationError, match=r'cannot import "broken_parrots:Parrot": .*line 1'):
        registry.find("broken_parrots:Parrot")


def test_a_kind_that_is_not_a_string_is_reported() -> None:
    with pytest.raises(ValidationError) as caught:
        registry.build("mine", {"kind": 3})
    assert str(caught.value) == "providers.mine.kind: expected a string, got 3"


def test_the_kind_is_the_name_by_default() -> None:
    provider = registry.build("scripted", {"reply": "yes"})
    assert isinstance(provider, ScriptedProvider)
    assert provider.config.reply == "yes"


def test_one_kind_can_serve_under_several_names() -> None:
    names = [registry.build(name, {"kind": "scripted"}).name for name in ("one", "two")]
    assert names == ["one", "two"]


def test_a_wrong_setting_is_named_by_the_providers_name() -> None:
    with pytest.raises(ValidationError) as caught:
        registry.build("demo", {"kind": "scripted", "timeout": "soon"})
    assert str(caught.value) == 'providers.demo.timeout: expected a number, got "soon"'


def test_the_table_is_left_as_it_was() -> None:
    settings = {"kind": "scripted", "reply": "a"}
    registry.build("demo", settings)
    assert settings == {"kind": "scripted", "reply": "a"}


def test_a_provider_needs_no_more_than_chat_and_is_available() -> None:
    assert frozenset({"chat", "is_available"}) == LLMProvider.__abstractmethods__
