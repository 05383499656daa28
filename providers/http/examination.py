"""The search for what is wrong with a provider: its address, its key or its model."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress

from providers.base import Message, Options
from providers.errors import ModelNotFound, ProviderError, ProviderUnavailable, WrongAddress
from providers.http import address_probe, model_names
from providers.http.address_probe import LooksRight
from providers.http.provider import HttpProvider

logger = logging.getLogger("rosey_llm.providers")
CALL_S = 10.0


async def of_chat(provider: HttpProvider) -> None:
    """Raise ProviderError with what to do if calls with OpenAI's protocol cannot succeed."""
    names = await provider.locate()
    check_model(provider, names)
    model = provider.config.default_model
    with suppress(WrongAddress):  # one that is in doubt; `locate` has raised the others
        await address_probe.require_chat(provider.session, provider.base_url, model)
    if not names:
        await _try_call(provider)


async def locate_chat(
    provider: HttpProvider, check_access: Callable[[], Awaitable[object]]
) -> list[str]:
    """Do `HttpProvider.locate` with OpenAI's protocol.

    check_access: raises if the server cannot be reached or refuses the key.
    """
    names: list[str] = []
    try:
        await check_access()
        names = await provider.models()
        with suppress(ModelNotFound):  # the chat is there: it asks for a model
            await address_probe.require_chat(provider.session, provider.base_url, "")
    except (WrongAddress, ProviderUnavailable) as exc:
        in_doubt = isinstance(exc, WrongAddress) and not exc.sure
        addresses = address_probe.chat_addresses(provider.base_url)
        likely = [each for each in addresses if not in_doubt or each.startswith("https:")]
        await check_address(provider, exc, likely, address_probe.has_chat)
        if not isinstance(exc, WrongAddress):
            raise
        if exc.sure:
            raise WrongAddress(f"{exc}; check providers.{provider.name}.base_url") from exc
    return names


async def locate_ollama(provider: HttpProvider) -> list[str]:
    """Do `HttpProvider.locate` with Ollama's protocol."""
    try:
        await address_probe.require_ollama(provider.session, provider.base_url)
        return await provider.models()
    except (WrongAddress, ProviderUnavailable) as exc:
        addresses = address_probe.ollama_addresses(provider.base_url)
        await check_address(provider, exc, addresses, address_probe.has_ollama)
        if isinstance(exc, WrongAddress):
            await _check_kind(provider, exc)
        raise


async def _check_kind(provider: HttpProvider, problem: WrongAddress) -> None:
    """Raise `problem` with what to set if the server has OpenAI's protocol instead of Ollama's."""
    base_url = provider.base_url
    addresses = [base_url, *address_probe.chat_addresses(base_url)]
    found = await address_probe.search(
        provider.session, base_url, addresses, address_probe.has_chat
    )
    if found:
        todo = f'kind = "openai" and base_url = "{found}"'
        raise WrongAddress(f"{problem}; it has OpenAI's protocol: set {todo}") from problem


async def check_address(
    provider: HttpProvider,
    problem: WrongAddress | ProviderUnavailable,
    addresses: Iterable[str],
    looks: LooksRight,
) -> None:
    """Raise `problem` with the address that was meant, if one of `addresses` looks right."""
    if problem.status is not None and isinstance(problem, ProviderUnavailable):
        return  # it answered, so the address is right
    session, base_url = provider.session, provider.base_url
    found = await address_probe.search(session, base_url, list(addresses), looks)
    if found:
        raise WrongAddress(f'{problem}; did you mean base_url = "{found}"?') from problem


def check_model(provider: HttpProvider, names: list[str]) -> None:
    """Raise ModelNotFound if no model is set, or one that is not in the server's own list."""
    model, setting = provider.config.default_model, f"providers.{provider.name}.default_model"
    if not model.strip():
        has = f"; the server has {model_names.few(names)}" if names else ""
        raise ModelNotFound(
            f'{setting} is empty{has}. "${{NAME}}" gives "" if the variable is not set'
        )
    if names and not model_names.is_listed(model, names):
        hint = model_names.near(model, names) or f"; it has {model_names.few(names)}"
        raise ModelNotFound(f'{setting}: {provider.label} has no model "{model}"{hint}')


async def _try_call(provider: HttpProvider) -> None:
    """Make a call of one token: without a list of models, only that shows whether it works."""
    try:
        async with asyncio.timeout(CALL_S):
            await provider.chat([Message("user", "Hi")], Options(max_tokens=1))
    except ProviderError as exc:
        # One token may be too few for an answer; that says nothing about longer ones.
        if exc.needs_person or isinstance(exc, ProviderUnavailable):
            raise
    except TimeoutError:
        logger.debug(
            "Provider %(provider)s: the test call had no answer within %(limit_s)g s",
            {
                "event": "provider.test_expired",
                "provider": provider.name,
                "limit_s": CALL_S,
            },
        )
