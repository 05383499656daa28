"""Tests of a machine that lacks something: it is `busy`, and not the provider's fault."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import aiohttp
import orjson
import pytest
from yarl import URL

from providers import registry
from providers.base import Completion, Message, Options
from providers.errors import HostExhausted, ProviderUnavailable
from providers.host_exhausted import host_exhausted
from providers.http.transport_errors import translated
from providers.local.provider import LocalProvider
from tests.fakes.llm_server import Behaviour, LLMServer
from tests.support.chain_harness import MadeUpTime, Stranger, Way, chained, every_way, scripted

FILES = OSError(errno.EMFILE, "Too many open files")


def behind(cause: BaseException, exc: BaseException) -> BaseException:
    exc.__cause__ = cause
    return exc


@pytest.mark.parametrize(
    ("exc", "lacking"),
    [
        (FILES, "file descriptors"),
        (OSError(errno.ENFILE, "x"), "file descriptors in the whole system"),
        (OSError(errno.ENOMEM, "x"), "memory"),
        (MemoryError(), "memory"),
        (OSError(errno.ENOBUFS, "x"), "network buffers"),
        (OSError(errno.EADDRNOTAVAIL, "x"), "local ports"),
        (BlockingIOError(errno.EAGAIN, "x"), "processes and threads"),
        (RuntimeError("can't start new thread"), "processes and threads"),
        (OSError("Multiple exceptions: Too many open files, refused"), "file descriptors"),
        (behind(FILES, ProviderUnavailable("Mine is down")), "file descriptors"),
        (ExceptionGroup("both", [ValueError(), FILES]), "file descriptors"),
    ],
    ids=repr,
)
def test_what_this_machine_lacks_is_named(exc: BaseException, lacking: str) -> None:
    error = host_exhausted(exc, "OpenAI")
    assert error is not None
    assert str(error).startswith(f"This machine has no free {lacking} for a call to OpenAI; ")
    assert error.code == "busy"
    assert error.retry_after_s is not None
    assert 5.0 <= error.retry_after_s <= 6.3
    assert not error.falls_over


@pytest.mark.parametrize(
    "exc",
    [
        ConnectionRefusedError(errno.ECONNREFUSED, "refused"),
        OSError(errno.EHOSTUNREACH, "x"),
        OSError(errno.EADDRNOTAVAIL, "Connect call failed ('::1', 9, 0, 0)"),
        socket.gaierror(socket.EAI_NONAME, "Name or service not known"),
        ssl.SSLError(errno.ENOMEM, "a number of OpenSSL's"),
        OSError("Multiple exceptions: refused, unreachable"),
        RuntimeError("odd"),
        ValueError("odd"),
        TimeoutError(),
    ],
    ids=repr,
)
def test_other_failures_are_not_this_machines(exc: BaseException) -> None:
    assert host_exhausted(exc, "OpenAI") is None


async def test_an_ipv6_address_on_a_machine_without_ipv6_is_no_lack_of_ports() -> None:
    key = aiohttp.ClientRequest("GET", URL("http://[::1]:9/")).connection_key
    inner = OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address")
    error = translated(
        behind(inner, aiohttp.ClientConnectorError(key, inner)),  # type: ignore[arg-type]
        "Ollama",
        "http://[::1]:9/",
        None,
    )
    assert isinstance(error, ProviderUnavailable)


class Starved(Stranger):
    """A provider of another author that has no file for its connection."""

    error: Exception = FILES

    async def chat(self, messages: Sequence[Message], options: Options) -> Completion:
        raise self.error

    async def stream(
        self, messages: Sequence[Message], options: Options
    ) -> AsyncIterator[str | Completion]:
        yield ""
        raise self.error


@every_way
@pytest.mark.parametrize(
    "error", [FILES, MemoryError(), behind(FILES, ProviderUnavailable("Mine is down"))], ids=repr
)
async def test_a_stranger_that_lacks_files_is_busy_and_the_next_provider_is_not_asked(
    way: Way, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    provider, spare = Starved(), scripted("spare")
    provider.error = error
    with pytest.raises(HostExhausted, match="for a call to stranger"):
        await way(chained(MadeUpTime(), provider, spare))
    assert not spare.calls
    assert not [record for record in caplog.records if record.exc_info]


@pytest.mark.process
@pytest.mark.parametrize("stream", ["yes", "no"])
@pytest.mark.parametrize("provider", ["openai", "ollama"])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_without_free_files_every_channel_hears_an_answer_or_busy(
    tmp_path: Path, provider: str, stream: str, host: str
) -> None:
    enough = asyncio.Event()
    async with LLMServer() as server:
        server.plan(*[Behaviour(text="Hi", hold=enough)] * 64)
        path = "/v1" if provider == "openai" else ""
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.support.few_files", str(tmp_path), provider),
            *(f"http://{host}:{server.port}{path}", stream),
            stdout=asyncio.subprocess.PIPE,
        )
        assert child.stdout is not None
        while (line := await child.stdout.readline()) == b"error\n":
            enough.set()
        await child.wait()
    report = orjson.loads(line)
    outcomes = report["outcomes"]
    assert outcomes.keys() <= {"busy", "Hi", "You said: hello"}, report
    assert outcomes["busy"] > 0
    assert outcomes["Hi"] > 0
    assert sum(outcomes.values()) == 500
    assert report["waits"][0] == 0
    assert all(5.0 <= wait_s <= 6.3 for wait_s in report["waits"][1:])
    assert "raise their limit (ulimit -n" in report["error"]
    assert report["last"] in ("Hi", "You said: hello")


@contextmanager
def no_free_files() -> Iterator[None]:
    """Let this process open no more files during the block."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = os.open(os.devnull, os.O_RDONLY)
    os.close(lowest_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@every_way
async def test_an_embedded_model_that_cannot_be_started_for_lack_of_files_is_busy(
    way: Way, caplog: pytest.LogCaptureFixture
) -> None:
    provider = LocalProvider({})
    chain = chained(MadeUpTime(), provider)
    assert await provider.is_available()
    with no_free_files(), pytest.raises(HostExhausted, match="no free file descriptors"):
        await way(chain)
    assert not [record for record in caplog.records if record.exc_info]
    await chain.aclose()


@every_way
@pytest.mark.parametrize("kind", ["openai", "ollama"])
async def test_a_host_name_that_cannot_be_looked_up_for_lack_of_files_is_busy(
    way: Way, kind: str
) -> None:
    provider = registry.build(kind, {"base_url": "http://no.such.host.invalid", "api_key": "x"})
    chain = chained(MadeUpTime(), provider)
    await asyncio.to_thread(lambda: None)  # so that the thread for such questions is there
    with no_free_files(), pytest.raises(HostExhausted, match="no free file descriptors"):
        await way(chain)
    await chain.aclose()


def test_an_older_error_number_of_a_lookup_is_a_lack_of_files_if_there_are_none() -> None:
    failed = OSError(errno.EINVAL, "Invalid argument")  # as EAI_SYSTEM gives it
    assert host_exhausted(failed, "OpenAI") is None
    with no_free_files():
        assert host_exhausted(failed, "OpenAI") is not None
