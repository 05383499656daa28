"""The addresses that a model's file may be fetched from, and how they are shown."""

from __future__ import annotations

import pytest

from providers.local.addresses import AddressRefused, check_address, file_name, shown


@pytest.mark.parametrize(
    "url",
    [
        "http://models.example/x.gguf",
        "http://10.0.0.1/x.gguf",
        "http://127.0.0.1.models.example/x.gguf",
        "file:///etc/passwd",
        "models/x.gguf",
        "https://",
        "https://models.example/a b.gguf",
        "https://name:secret@models.example/x.gguf",
        "https://[::1",
    ],
)
def test_only_https_and_this_machine_may_be_named(url: str) -> None:
    with pytest.raises(AddressRefused) as refused:
        check_address(url)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    "url", ["https://models.example/x.gguf?key=1", "http://localhost:8/x", "http://[::1]:80/x"]
)
def test_https_and_this_machine_may_be_named(url: str) -> None:
    check_address(url)


def test_a_redirect_to_this_machine_is_refused() -> None:
    with pytest.raises(AddressRefused, match="which is on this machine"):
        check_address("http://127.0.0.1/x", redirected_from="https://models.example/x.gguf")


def test_an_address_is_shown_without_its_secrets() -> None:
    assert (
        shown("https://me:secret@h.example/a/x.gguf?key=secret#y") == "https://h.example/a/x.gguf"
    )


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://h.example/a/Tiny-Q4_1.gguf?download=true", "Tiny-Q4_1.gguf"),
        ("https://h.example/a%20b.gguf", "a b.gguf"),
        ("https://h.example/..%2F..%2Fx.gguf", "x.gguf"),
        ("https://h.example/.gguf", ""),
        ("https://h.example/model", ""),
        ("https://h.example/x.gguf/", ""),
    ],
)
def test_the_files_own_name_is_used_if_it_is_harmless(url: str, name: str) -> None:
    assert file_name(url) == name
