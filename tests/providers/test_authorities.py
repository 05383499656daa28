"""The authorities that a provider's server is trusted by."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import Any

import pytest

from providers.errors import ProviderUnavailable
from providers.http.provider import HttpProvider
from providers.openai import OpenAIProvider
from providers.validation import ValidationError
from tests.fakes.llm_server import LLMServer
from tests.support.tls_servers import Authority
from tests.support.ways_to_a_provider import both_ways, by_chat, path_of


@both_ways
async def test_a_server_with_a_certificate_of_ones_own_authority_is_trusted_by_ca_file(
    ask: Any, kind: type[HttpProvider], tls: ssl.SSLContext, authority: Authority
) -> None:
    async with LLMServer(tls=tls) as server:
        table = {"base_url": server.url + path_of(kind), "api_key": "x"}
        async with kind({**table, "ca_file": str(authority.file)}) as provider:
            assert await ask(provider) == "You said: Hello"
        async with kind(table) as provider:
            with pytest.raises(
                ProviderUnavailable, match="certificate is not trusted; set ca_file"
            ):
                await ask(provider)


async def test_a_ca_file_trusts_no_other_authority(tls: ssl.SSLContext, tmp_path: Path) -> None:
    other = Authority(tmp_path, "other")
    async with LLMServer(tls=tls) as server:
        table = {"base_url": server.url, "ca_file": str(other.file)}
        async with OpenAIProvider(table) as provider:
            with pytest.raises(ProviderUnavailable, match="not trusted"):
                await by_chat(provider)


async def test_https_to_a_server_without_tls_is_named() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        async with OpenAIProvider({"base_url": f"https://127.0.0.1:{port}/v1"}) as provider:
            with pytest.raises(ProviderUnavailable, match="does base_url need http://"):
                await by_chat(provider)


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_ca_file_that_cannot_be_used_is_an_error_of_the_settings(
    content: str | None, tmp_path: Path, kind: type[HttpProvider]
) -> None:
    file = tmp_path / "ca.pem"
    if content:
        file.write_text(content)
    with pytest.raises(ValidationError, match=r"^providers\.mine\.ca_file: expected a file of cer"):
        kind({"ca_file": str(file)}, name="mine")
