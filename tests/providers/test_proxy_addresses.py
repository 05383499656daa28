"""Which proxy leads to a provider: by its settings, or as the environment names it."""

from __future__ import annotations

from typing import Any

import pytest

from providers.errors import WrongAddress
from providers.http.provider import HttpProvider
from providers.http.proxy import UnusableProxy, proxy_from, proxy_of
from providers.validation import ValidationError
from tests.support.ways_to_a_provider import both_ways


@pytest.mark.parametrize(
    ("url", "environment", "address"),
    [
        ("http://far/v1", {}, None),
        ("http://far/v1", {"HTTP_PROXY": "http://p:3128"}, "http://p:3128"),
        ("http://far/v1", {"http_proxy": "http://p:3128"}, "http://p:3128"),
        ("http://far/v1", {"http_proxy": "http://a:1", "HTTP_PROXY": "http://b:2"}, "http://a:1"),
        ("http://far/v1", {"HTTP_PROXY": "p:3128"}, "http://p:3128"),
        ("http://far/v1", {"HTTP_PROXY": " "}, None),
        ("http://far/v1", {"HTTPS_PROXY": "http://p:3128"}, None),
        ("https://far/v1", {"HTTPS_PROXY": "http://p:3128/"}, "http://p:3128"),
        ("https://far/v1", {"HTTP_PROXY": "http://p:3128"}, None),
        ("https://far/v1", {"ALL_PROXY": "http://p:3128"}, "http://p:3128"),
        ("https://far/v1", {"all_proxy": "http://p", "HTTPS_PROXY": "http://q"}, "http://q"),
    ],
)
def test_the_environment_names_the_proxy_as_for_other_programs(
    url: str, environment: dict[str, str], address: str | None
) -> None:
    found = proxy_from(environment, url)
    assert (found and found.address) == address


@pytest.mark.parametrize(
    ("url", "no_proxy", "direct"),
    [
        ("http://api.far.org", "", False),
        ("http://api.far.org", "*", True),
        ("http://api.far.org", "far.org", True),
        ("http://api.far.org", ".far.org", True),
        ("http://api.far.org", "*.far.org", True),
        ("http://far.org", ".far.org", True),
        ("http://api.far.org", "API.FAR.ORG", True),
        ("http://notfar.org", "far.org", False),
        ("http://api.far.org", "near.org, far.org", True),
        ("http://api.far.org", "near.org far.org", True),
        ("http://api.far.org:8080", "far.org:8080", True),
        ("http://api.far.org:8080", "far.org:80", False),
        ("http://api.far.org", "far.org:80", True),
        ("http://10.1.2.3", "10.0.0.0/8", True),
        ("http://11.1.2.3", "10.0.0.0/8", False),
        ("http://10.1.2.3", "10.1.2.3", True),
        ("http://[fd00::7]:80", "fd00::/8", True),
        ("http://[fd00::7]:80", "[fd00::7]", True),
        ("http://api.far.org", ",,:80,", False),
        # This machine itself, which a proxy elsewhere could not reach.
        ("http://localhost:11434", "", True),
        ("http://127.0.0.1:11434", "", True),
        ("http://127.9.9.9", "", True),
        ("http://[::1]:80", "", True),
        ("http://192.168.0.9", "", False),
    ],
)
def test_no_proxy_names_who_is_reached_directly(url: str, no_proxy: str, direct: bool) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        environment = {"HTTP_PROXY": "http://p:3128", name: no_proxy}
        assert (proxy_from(environment, url) is None) is direct


@pytest.mark.parametrize("setting", ["none", "None", " none "])
def test_no_proxy_can_be_set(setting: str) -> None:
    assert proxy_of(setting) is None


def test_a_login_in_a_proxys_address_is_not_a_part_of_what_is_shown() -> None:
    proxy = proxy_of("http://jo%40x:ses%2Fame@p:3128")
    assert proxy is not None
    assert (proxy.address, proxy.place) == ("http://p:3128", "p:3128")
    assert proxy.authorization == "Basic am9AeDpzZXMvYW1l"
    assert "ses" not in repr(proxy)
    assert {"ses/ame", "ses%2Fame", "am9AeDpzZXMvYW1l"} == set(proxy.secrets)


@pytest.mark.parametrize(
    "setting",
    [
        "p:3128",
        "socks5://p:1080",
        "https://p",
        "http://",
        "http://p:99999",
        "http://[x",
        "http://p/x",
    ],
)
def test_an_unusable_proxy_is_an_error_of_the_settings(
    setting: str, kind: type[HttpProvider]
) -> None:
    with pytest.raises(ValidationError) as caught:
        kind({"proxy": setting}, name="mine")
    assert caught.value.path == "providers.mine.proxy"
    assert caught.value.problem.startswith("expected an address such as")
    with pytest.raises(UnusableProxy):
        proxy_of(setting)


@both_ways
async def test_an_unusable_proxy_of_the_environment_is_named_by_the_call_alone(
    ask: Any, kind: type[HttpProvider], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5://jo:sesame@p:1080")
    async with kind({"base_url": "http://far.example", "api_key": "x"}, name="mine") as provider:
        with pytest.raises(WrongAddress, match=r"\$ALL_PROXY is not an address") as caught:
            await ask(provider)
        status = await provider.status()
    assert "set providers.mine.proxy" in str(caught.value)
    assert "sesame" not in str(caught.value)
    assert (status.available, status.detail) == (False, str(caught.value))
