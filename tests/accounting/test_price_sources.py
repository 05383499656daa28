"""Where the prices of configured models come from, and what is said without the extra."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from engine.accounting import price_list, price_sources
from engine.config.loading import parse
from engine.config.settings import Settings
from providers.installation import install_command
from tests.support.command_line import SCRIPTED, rosey, running

LISTED = 'accounting.price_list = "genai-prices"\n'
NEEDED = f"needs the extra prices: {install_command('prices')}"
FAR_AWAY = """
from providers import ScriptedProvider

class FarAway(ScriptedProvider):
    base_url = "https://api.openai.com/v1"
"""
OPENAI = {"api_key": "k", "default_model": "gpt-4o-mini"}


def told(settings: Settings) -> dict[str, tuple[bool, str]]:
    price_list.prepare(settings)
    providers = [settings.new_provider(name) for name in settings.providers]
    found = price_sources.sources(settings, providers)
    return {f"{each.provider}/{each.model}": (each.is_known, each.text) for each in found}


def test_each_configured_model_has_a_line(tmp_path: Path) -> None:
    values: dict[str, Any] = {
        "default_provider": "openai",
        "fallback_providers": ["scripted"],
        "accounting": {"price_list": "genai-prices"},
        "prices": {"openai/o*": {"input": 10.0, "output": 40.0}},
        "providers": {
            "openai": OPENAI,
            "scripted": {},
            "openrouter": {"api_key": "k"},
            "local": {},
        },
        "personas": {"thinker": {"prompt": "Think.", "model": "o3"}},
        "channels": {
            "rules": [
                {"match": "#a", "model": "o4"},
                {"match": "#b", "model": "x/y", "provider": "openrouter"},
            ]
        },
    }
    found = told(parse(values, tmp_path))
    table = (True, '10 and 40 USD for a million tokens in and out, from [prices] "openai/o*"')
    assert found.pop("openai/o3") == found.pop("openai/o4") == table
    is_known, text = found.pop("openai/gpt-4o-mini")
    assert is_known
    assert text.endswith(f"from genai-prices {price_list.version()}")
    unknown = (False, "no price is known: add the model to [prices]")
    assert found.pop("scripted/scripted") == unknown
    assert found.pop("openrouter/x/y") == (True, "its server says what each call costs")
    assert (True, "costs nothing") in [each for key, each in found.items() if "local/" in key]
    assert {key.partition("/")[0] for key in found} == {"openrouter", "local"}


@pytest.fixture
def without_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "instead"
    folder.mkdir()
    (folder / "genai_prices.py").write_text("raise ImportError('not here')")
    monkeypatch.setenv("PYTHONPATH", str(folder))


@pytest.mark.process
@pytest.mark.parametrize(("command", "code"), [("check", 1), ("run", 3)])
def test_without_the_extra_it_says_what_to_install(
    tmp_path: Path, without_the_extra: None, command: str, code: int
) -> None:
    (tmp_path / "rosey-llm.toml").write_text(LISTED + SCRIPTED)
    done = rosey(tmp_path, command)
    assert (done.returncode, NEEDED in done.stdout + done.stderr) == (code, True)


@pytest.mark.process
def test_a_reload_without_the_extra_changes_nothing(
    tmp_path: Path, without_the_extra: None
) -> None:
    (tmp_path / "rosey-llm.toml").write_text(SCRIPTED)
    with running(tmp_path):
        (tmp_path / "rosey-llm.toml").write_text(LISTED + SCRIPTED)
        done = rosey(tmp_path, "reload")
        assert (done.returncode, NEEDED in done.stderr) == (1, True)
        assert rosey(tmp_path, "chat", "Hi").returncode == 0


@pytest.mark.process
def test_a_reload_may_begin_with_the_list(tmp_path: Path) -> None:
    (tmp_path / "far_away.py").write_text(FAR_AWAY)
    config = '[providers.scripted]\nkind = "far_away:FarAway"\ndefault_model = "gpt-4o-mini"\n'
    (tmp_path / "rosey-llm.toml").write_text(SCRIPTED + config)
    with running(tmp_path):
        assert rosey(tmp_path, "chat", "word " * 2000).returncode == 0
        before = rosey(tmp_path, "usage", "--json").stdout
        (tmp_path / "rosey-llm.toml").write_text(LISTED + SCRIPTED + config)
        done = rosey(tmp_path, "reload")
        assert done.stdout == 'settings: accounting.price_list = "genai-prices"\n'
        assert rosey(tmp_path, "chat", "word " * 2000).returncode == 0
        after = rosey(tmp_path, "usage", "--json").stdout
    found = [orjson.loads(each)[0] for each in (before, after)]
    assert [each["unpriced"] for each in found] == [1, 1]
    assert found[0]["usd"] == 0 < found[1]["usd"]
