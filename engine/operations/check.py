"""`rosey-llm check`: tries NATS, the database and each provider, and says what to do."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

from engine.config.settings import Settings
from engine.traffic.chat_client import ChatClient
from engine.traffic.embedded.server import EmbeddedNats, EmbeddedNatsError, StoreInUse
from engine.traffic.login import without_login
from providers import registry
from providers.base import LLMProvider, Status
from providers.chain.chain import ProviderChain
from storage.errors import CannotOpen, DatabaseInUse
from storage.writer.database import Database


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the table. `needed`: the service uses this part to answer."""

    part: str
    works: bool
    detail: str
    needed: bool = True


async def findings(settings: Settings) -> list[Finding]:
    """Try NATS, the database and every configured provider."""
    nats, database, providers = await asyncio.gather(
        _nats(settings), _database(settings), _providers(settings)
    )
    return [nats, database, *providers]


def could_answer(found: list[Finding]) -> bool:
    """Decide whether the service could answer: one provider and all other parts must work."""
    providers = [each for each in found if each.part.startswith("provider ") and each.needed]
    others = [each for each in found if not each.part.startswith("provider ")]
    return all(each.works for each in others) and any(each.works for each in providers)


async def _nats(settings: Settings) -> Finding:
    nats = settings.nats
    if nats.url == "embedded":
        return await _embedded_nats(settings)
    try:
        client = await ChatClient.connect(nats, nats.url, "check", "check")
    except ConnectionError as exc:
        return Finding("NATS", False, str(exc))
    await client.close()
    return Finding("NATS", True, without_login(nats.url))


async def _embedded_nats(settings: Settings) -> Finding:
    nats, subjects = settings.nats, settings.nats.subjects
    server = EmbeddedNats(
        Path(nats.store_dir),
        0,
        bot_publish=[subjects.chat, subjects.request],
        bot_subscribe=[subjects.response, subjects.error, subjects.stream],
    )
    try:
        await server.start()
        await server.stop()
    except StoreInUse:
        return Finding("NATS", True, f"embedded, {nats.store_dir}, in use by a running service")
    except EmbeddedNatsError as exc:
        return Finding("NATS", False, str(exc))
    except OSError as exc:
        return Finding("NATS", False, f"{exc}. Set [nats] store_dir to a folder of its own.")
    return Finding("NATS", True, f"embedded, {nats.store_dir}")


async def _database(settings: Settings) -> Finding:
    path = Path(settings.storage.path)
    database = Database(path, settings.storage.durability)
    try:
        await database.open()
        await database.close()
    except DatabaseInUse:
        return Finding("database", True, f"{path}, in use by a running service")
    except CannotOpen as exc:
        return Finding("database", False, str(exc))
    return Finding("database", True, str(path))


async def _providers(settings: Settings) -> list[Finding]:
    needed = settings.provider_names
    names = list(dict.fromkeys([*needed, *settings.providers]))
    statuses = await asyncio.gather(*(_status(settings, name) for name in names))
    return [
        Finding(
            f"provider {name}", status.available, status.detail, name in settings.provider_names
        )
        for name, status in zip(names, statuses, strict=True)
    ]


async def _status(settings: Settings, name: str) -> Status:
    try:
        provider = registry.build(name, settings.provider_table(name))
    except Exception as exc:  # noqa: BLE001 - a third-party provider may raise anything
        return Status(False, f"cannot be created: {type(exc).__name__}: {exc}")
    return await _guarded_status(provider)


async def _guarded_status(provider: LLMProvider) -> Status:
    chain = ProviderChain([provider])
    try:
        return (await chain.statuses())[provider.name]
    finally:
        await chain.aclose()
