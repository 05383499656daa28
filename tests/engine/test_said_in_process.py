"""Each sentence of the table is really said: those that an `LLMService` says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from engine.admission.request_limits import WINDOWS
from engine.answering import abandonable
from engine.commands.validation import MAX_REQUEST_ID
from providers import ScriptedProvider, errors
from providers.errors import ProviderError
from storage import channels, replies
from tests.support.judging import SETTINGS
from tests.support.patience import WAIT_S
from tests.support.said import Case, error_of, failing, key_of, saying, service
from tests.support.service_calls import Gate, Stuck, asking

# What commands answer.


async def reset(folder: Path) -> str:
    async with service(folder) as bot:
        return (await bot.reset()).content


async def personas_listed(folder: Path) -> str:
    async with service(folder) as bot:
        return (await bot.show_personas()).content


async def persona_switched(folder: Path) -> str:
    async with service(folder) as bot:
        return (await bot.set_persona("concise")).content


async def unknown_persona(folder: Path) -> str:
    async with service(folder) as bot:
        return await error_of(bot.set_persona("pirate"))


async def nothing_to_stop(folder: Path) -> str:
    async with service(folder) as bot:
        return (await bot.stop()).content


async def stopped(folder: Path) -> str:
    gate = Gate()
    async with service(folder, ScriptedProvider(script=gate)) as bot:
        chat = asking(bot, "Hi")
        await gate.until(1)
        said = (await bot.stop()).content
        await asyncio.wait({chat})
        return said


async def answer_stopped(folder: Path) -> str:
    gate = Gate()
    async with service(folder, ScriptedProvider(script=gate)) as bot:
        chat = asking(bot, "Hi")
        await gate.until(1)
        await bot.stop()
        return await error_of(chat)


async def message_erased(folder: Path) -> str:
    gate = Gate()
    async with service(folder, ScriptedProvider(script=gate)) as bot:
        chat = asyncio.create_task(bot.chat("Hi", request_id="r"))
        await gate.until(1)
        bot.inspect().engine.supervisor.erase([("main", "r")])
        return await error_of(chat)


# What the sender may not do, or not so often.


async def needs_role(folder: Path, role: str, key: str, asked: str) -> str:
    """Ask for something without the role; return the sentence, or a phrase in it."""
    async with service(folder, permissions={"reset": role, "persona": role}) as bot:
        call = bot.reset() if asked == "reset" else bot.set_persona("concise")
        said = await error_of(call)
        return said if key_of(said) == key else said.split("<", 1)[1]


async def stop_not_allowed(folder: Path) -> str:
    gate = Gate()
    limited = service(folder, ScriptedProvider(script=gate), permissions={"stop_others": "mod"})
    async with limited as bot:
        chat = asyncio.create_task(bot.chat("Hi", username="alice"))
        await gate.until(1)
        said = await error_of(bot.stop(username="bob"))
        await gate.let(1)
        await chat
        return said


async def denied(folder: Path) -> str:
    access = {"users_deny": ["alice"], "answer_denied": True}
    async with service(folder, access=access) as bot:
        return await error_of(bot.chat("Hi", username="alice"))


async def limited(folder: Path, limit: str, most: int) -> str:
    async with service(folder, limits={limit: most}) as bot:
        for _ in range(most):
            await bot.chat("Hi", username="alice")
        return await error_of(bot.chat("Hi", username="alice"))


# What has to wait.


async def busy(folder: Path, *, waiting: int, **limits: int) -> str:
    """Ask while one message is answered and others wait, as many as the limits allow."""
    gate = Gate()
    async with service(folder, ScriptedProvider(script=gate), channels=limits) as bot:
        chats = [asking(bot, "Hi") for _ in range(1 + waiting)]
        await gate.until(1)
        said = await error_of(bot.chat("Hi"))
        await gate.let(len(chats))
        await asyncio.gather(*chats)
        return said


async def service_stopping(folder: Path) -> str:
    async with service(folder) as bot:
        await bot.inspect().engine.drain()
        return await error_of(bot.chat("Hi"))


async def stopping_already(folder: Path) -> str:
    provider = Stuck()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(abandonable, "GRACE_S", WAIT_S)
        async with service(folder, provider) as bot:
            chat = asking(bot, "Hi")
            await provider.called.wait()
            stops = [asyncio.create_task(bot.stop()) for _ in range(9)]
            (refused,), _ = await asyncio.wait(stops, return_when=asyncio.FIRST_COMPLETED)
            said = await error_of(refused)
            provider.let_go.set()
            await asyncio.wait({chat, *stops})
            return said


async def not_stopped(folder: Path) -> str:
    provider = Stuck()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(abandonable, "GRACE_S", WAIT_S)
        async with service(folder, provider, service={"drain_timeout_s": 0.01}) as bot:
            chat = asking(bot, "Hi")
            await provider.called.wait()
            stop = asyncio.create_task(bot.stop())
            await provider.cut.wait()
            await bot.aclose()
            provider.let_go.set()
            await asyncio.wait({chat})
            return await error_of(stop)


async def copies_waiting(folder: Path) -> str:
    gate = Gate()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(replies, "LIMIT", 2)
        async with service(folder, ScriptedProvider(script=gate)) as bot:
            chats = [asyncio.create_task(bot.chat("Hi", request_id="r")) for _ in range(3)]
            await gate.until(1)
            said = await error_of(bot.chat("Hi", request_id="r"))
            await gate.let(1)
            await asyncio.gather(*chats)
            return said


async def service_closed(folder: Path) -> str:
    gate = Gate()
    closing = service(folder, ScriptedProvider(script=gate), service={"drain_timeout_s": 0.01})
    async with closing as bot:
        asking(bot, "first")
        await gate.until(1)
        behind = asking(bot, "second")
        await asyncio.sleep(0)
    return await error_of(behind)


# What went wrong with the model, or with the turn.


async def failed(folder: Path, make: Callable[[], ProviderError]) -> str:
    async with service(folder, failing(make)) as bot:
        return await error_of(bot.chat("Hi"))


async def turn_timeout(folder: Path) -> str:
    late = service(folder, ScriptedProvider(script=Gate()), conversation={"turn_timeout_s": 0.01})
    async with late as bot:
        return await error_of(bot.chat("Hi"))


async def blank_answer(folder: Path) -> str:
    async with service(folder, saying("Hello", "Rosey:")) as bot:
        await bot.chat("Hi", username="alice")
        return await error_of(bot.chat("Hi", username="bob"))


# What is wrong with a message.


async def refused(folder: Path, **message: Any) -> str:
    async with service(folder, conversation={"max_message_bytes": 10}) as bot:
        return await error_of(bot.chat(**{"message": "Hi", **message}))


OF_PROVIDERS: dict[str, Callable[[], ProviderError]] = {
    "provider_unavailable": lambda: errors.ConnectionLost("It broke"),
    "provider_timeout": lambda: errors.ProviderTimeout("It was late"),
    "provider_auth": lambda: errors.AuthenticationFailed("A wrong key"),
    "rate_limited": lambda: errors.RateLimited("Slower"),
    "quota_exhausted": lambda: errors.QuotaExhausted("No credit"),
    "refused": lambda: errors.ContentWithheld("A filter"),
    "model_not_found": lambda: errors.ModelNotFound("No such model"),
    "context_too_long": lambda: errors.ContextTooLong("Too long"),
    "empty_answer": lambda: errors.EmptyAnswer("Nothing"),
    "incomplete_answer": lambda: errors.IncompleteAnswer("It broke off", partial="It"),
    "provider_error": lambda: errors.WrongAddress("No such page"),
    "host_exhausted": lambda: errors.HostExhausted("No files"),
}
REFUSED: dict[str, dict[str, Any]] = {
    "message_empty": {"message": ""},
    "message_too_long": {"message": "x" * 11},
    "message_not_text": {"message": "a\0b"},
    "field_invalid": {"temperature": 3.0},
    "field_not_string": {"channel_id": 5},
    "field_not_text": {"username": "a\0b"},
    "field_not_unicode": {"username": "\ud800"},
    "field_too_long": {"username": "x" * 11},
    "id_too_long": {"request_id": "x" * (MAX_REQUEST_ID + 1)},
    "channel_empty": {"channel_id": " "},
    "channel_reserved": {"channel_id": channels.ENGINE},
}


async def not_let_pass(folder: Path, said: str, answer: str) -> str:
    async with service(folder, saying(answer), **SETTINGS) as bot:
        return await error_of(bot.chat(said))


CASES: dict[str, Case] = {
    "conversation_reset": reset,
    "personas_listed": personas_listed,
    "persona_switched": persona_switched,
    "unknown_persona": unknown_persona,
    "nothing_to_stop": nothing_to_stop,
    "stopped": stopped,
    "answer_stopped": answer_stopped,
    "message_erased": message_erased,
    **{
        key: partial(needs_role, role=role, key=key, asked=asked)
        for key, role, asked in (
            ("reset_not_allowed", "mod", "reset"),
            ("persona_not_allowed", "admin", "persona"),
            ("role", "mod", "persona"),
            ("admins", "admin", "reset"),
        )
    },
    "stop_not_allowed": stop_not_allowed,
    "denied": denied,
    **{
        f"{limit}{one}": partial(limited, limit=limit, most=1 if one else 2)
        for limit in WINDOWS
        for one in ("", "_one")
    },
    "channel_busy": partial(busy, waiting=2, mailbox_limit=2),
    "channel_busy_one": partial(busy, waiting=1, mailbox_limit=1),
    "service_busy": partial(busy, waiting=1, commands_limit=2),
    "service_busy_one": partial(busy, waiting=0, commands_limit=1),
    "service_stopping": service_stopping,
    "stopping_already": stopping_already,
    "not_stopped": not_stopped,
    "copies_waiting": copies_waiting,
    "service_closed": service_closed,
    "message_refused": partial(not_let_pass, said="bad", answer="Hello"),
    "answer_refused": partial(not_let_pass, said="Hi", answer="bad"),
    "message_unchecked": partial(not_let_pass, said="odd", answer="Hello"),
    "answer_unchecked": partial(not_let_pass, said="Hi", answer="odd"),
    "turn_timeout": turn_timeout,
    "blank_answer": blank_answer,
    **{key: partial(failed, make=make) for key, make in OF_PROVIDERS.items()},
    **{key: partial(refused, **message) for key, message in REFUSED.items()},
}


@pytest.mark.parametrize("key", CASES)
async def test_the_sentence_is_said_in_the_words_of_the_configuration(
    tmp_path: Path, key: str
) -> None:
    assert key_of(await CASES[key](tmp_path)) == key
