"""The process of the embedded model: its starts and ends, its key, and what it does not get."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import textwrap
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest
import pytest_asyncio

from providers.base import Options
from providers.errors import ProviderUnavailable
from providers.local.provider import LocalProvider
from tests.support.embedded_model import (
    ENDLESS,
    EXACT,
    FRANCE,
    needs_the_model,
    pieces_of,
    process_and_key,
    running,
)
from tests.support.patience import WAIT_S, until
from tests.support.processes import alive, children, proc

pytestmark = needs_the_model


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def local() -> AsyncIterator[LocalProvider]:
    async with LocalProvider() as provider:
        yield provider


async def test_the_key_is_in_no_command_line_and_no_environment(local: LocalProvider) -> None:
    _, key = process_and_key(local)

    assert len(key) > 20
    assert key not in proc(running(local), "cmdline")
    assert key not in proc(running(local), "environ")


async def test_a_request_without_the_key_gets_no_answer(local: LocalProvider) -> None:
    process, _ = process_and_key(local)
    reader, writer = await asyncio.open_connection("127.0.0.1", process.port)
    body = b'{"messages": [{"role": "user", "content": "Hi"}]}'
    writer.write(
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    )
    async with asyncio.timeout(WAIT_S):
        answer = await reader.read()
    writer.close()

    assert answer.startswith(b"HTTP/1.1 401")


async def test_a_killed_child_fails_the_call_and_the_next_call_has_a_new_one() -> None:
    async with LocalProvider() as provider:
        pieces = pieces_of(provider, ENDLESS, Options(temperature=0.0))
        assert await anext(pieces)
        killed = running(provider)
        os.kill(killed, signal.SIGKILL)
        with pytest.raises(ProviderUnavailable, match="local: the embedded model ended"):
            async for _ in pieces:
                pass
        completion = await provider.chat(FRANCE, EXACT)

        assert "Paris" in completion.content
        assert provider.pid != killed


async def test_a_child_that_died_between_two_calls_is_replaced() -> None:
    async with LocalProvider() as provider:
        killed = running(provider)
        os.kill(killed, signal.SIGKILL)
        async with asyncio.timeout(WAIT_S):
            while True:  # it takes a moment until its end is known
                with suppress(ProviderUnavailable):
                    completion = await provider.chat(FRANCE, EXACT)
                    break
                await asyncio.sleep(0.01)

        assert "Paris" in completion.content
        assert provider.pid != killed


async def test_the_first_calls_share_one_start() -> None:
    before = children(os.getpid())
    provider = LocalProvider({"parallel": 2})
    answers = await asyncio.gather(*(provider.chat(FRANCE, EXACT) for _ in range(3)))
    started = children(os.getpid()) - before
    await provider.aclose()

    assert len(started) == 1
    assert all("Paris" in answer.content for answer in answers)


async def test_a_caller_that_leaves_does_not_stop_the_start() -> None:
    provider = LocalProvider()
    leaving = asyncio.create_task(provider.chat(FRANCE, EXACT))
    staying = asyncio.create_task(provider.chat(FRANCE, EXACT))
    await asyncio.sleep(0)
    leaving.cancel()
    completion = await staying
    await provider.aclose()

    assert leaving.cancelled()
    assert "Paris" in completion.content


async def test_closing_leaves_no_process() -> None:
    provider = LocalProvider()
    await provider.start()
    pid = running(provider)
    await provider.aclose()
    await provider.aclose()

    assert provider.pid is None
    assert not alive(pid)
    with pytest.raises(ProviderUnavailable, match="was stopped"):
        await provider.chat(FRANCE, EXACT)


async def test_closing_while_it_starts_leaves_no_process() -> None:
    before = children(os.getpid())
    provider = LocalProvider()
    calling = asyncio.create_task(provider.chat(FRANCE, EXACT))
    await until(lambda: bool(children(os.getpid()) - before))
    started = children(os.getpid()) - before
    await provider.aclose()
    with pytest.raises(ProviderUnavailable, match="was stopped"):
        await calling

    assert len(started) == 1
    assert not any(alive(pid) for pid in started)


async def test_a_provider_that_never_started_can_be_closed() -> None:
    await LocalProvider().aclose()


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
async def test_the_child_ends_with_an_engine_that_was_killed(loop: str) -> None:
    program = f"""
        import asyncio, {loop}
        from providers.local.provider import LocalProvider

        async def main():
            provider = LocalProvider()
            await provider.start()
            print(provider.pid, flush=True)
            await asyncio.Event().wait()

        {loop}.run(main())
    """
    parent = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", textwrap.dedent(program)), stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    pid = int(await parent.stdout.readline())
    was_alive = alive(pid)
    parent.kill()
    await parent.wait()

    assert was_alive
    await until(lambda: not alive(pid))


async def test_the_child_ends_when_its_input_ends() -> None:
    async with LocalProvider() as provider:
        process, _ = process_and_key(provider)
        stdin = process._child.stdin
        assert stdin is not None
        stdin.close()
        async with asyncio.timeout(WAIT_S):
            assert await process.ended() == 0


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
async def test_the_model_process_gets_no_key_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-none-of-its-business")
    async with LocalProvider() as provider:
        variables = Path(f"/proc/{running(provider)}/environ").read_bytes()
    assert b"PATH=" in variables
    assert b"none-of-its-business" not in variables
