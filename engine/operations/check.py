"""`rosey-llm check`: tries NATS, the database and each provider, and says what to do.

It leaves no file behind, and does not disturb a running service.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.accounting import price_list, price_sources
from engine.client.address import CannotConnect, without_login
from engine.client.client import Client
from engine.client.subjects import Subjects
from engine.clock import now_ms
from engine.config import config_notes
from engine.config.allowed_models import provider_of
from engine.config.safety_settings import SafetySettings
from engine.config.settings import Settings, StorageSettings
from engine.errors import CannotStart
from engine.operations import retention
from engine.traffic import examination
from engine.traffic.embedded import store_lock, url_file
from engine.traffic.embedded.port import in_the_way, occupant_of
from engine.traffic.embedded.server import BotRights, EmbeddedNats, EmbeddedNatsError
from engine.traffic.examination import OwnService
from engine.traffic.micro_service import database_mark
from providers import registry
from providers.base import LLMProvider, Status
from providers.chain import fallback
from providers.chain.chain import ProviderChain
from providers.chain.fallback import FallbackOn
from providers.chain.moderator import Moderator
from providers.errors import ProviderError
from storage import backup_folder
from storage.errors import CannotOpen, DatabaseInUse
from storage.examination import examine, require_writable
from storage.lock import owner

HARMLESS = "Hello."


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the table. `needed`: the service uses this part to answer.

    misconfigured: it fails until a person changes something; no other provider answers instead.
    """

    part: str
    works: bool
    detail: str
    needed: bool = True
    misconfigured: bool = False

    @property
    def record(self) -> dict[str, Any]:
        """The finding as JSON; `misconfigured` only if it is."""
        record = {"part": self.part, "ok": self.works, "needed": self.needed, "detail": self.detail}
        return record | {"misconfigured": True} if self.misconfigured else record


@dataclass(frozen=True, slots=True)
class CheckReport:
    """All findings, and notes on what works but should be known."""

    findings: Sequence[Finding]
    notes: Sequence[str] = ()
    fallback_on: FallbackOn = "passing"

    @property
    def can_answer(self) -> bool:
        return could_answer(self.findings, self.fallback_on)


async def report(settings: Settings) -> CheckReport:
    """Try NATS, the database, every configured provider and moderation; look up prices."""
    (nats, notes), database, providers, prices, moderations = await asyncio.gather(
        _nats(settings),
        _database(settings),
        _providers(settings),
        _prices(settings),
        _moderations(settings),
    )
    retention_note = await asyncio.to_thread(_retention_note, settings)
    backups = backup_notes(settings.storage, now_ms())
    notes = [*notes, *retention_note, *backups, *config_notes.notes(settings)]
    findings = [*nats, database, *providers, *prices, *moderations]
    return CheckReport(findings, notes, settings.fallback_on)


def could_answer(found: Sequence[Finding], fallback_on: FallbackOn) -> bool:
    """Decide whether the service could answer: one provider and all that it needs must work."""
    providers = [each for each in found if each.part.startswith("provider ") and each.needed]
    others = [each for each in found if not each.part.startswith("provider ") and each.needed]
    statuses = [Status(each.works, each.detail, each.misconfigured) for each in providers]
    works = fallback.could_answer(statuses, fallback_on)
    return works and all(each.works for each in others)


async def _nats(settings: Settings) -> tuple[list[Finding], list[str]]:
    nats = settings.nats
    if nats.url == "embedded":
        return await _embedded_nats(settings)
    try:
        own = _own_service(Path(settings.storage.path))
        found = await examination.examine(nats, settings.conversation.max_reply_bytes, own)
    except ConnectionError as exc:
        return [Finding("NATS", False, str(exc))], []
    url = without_login(nats.url)
    problems = [Finding("NATS", False, f"{url}: {problem}") for problem in found.problems]
    if problems:
        return problems, found.notes
    running = f", in use by a running service: {found.running}" if found.running else ""
    return [Finding("NATS", True, f"{url}{running}")], found.notes


def _own_service(database: Path) -> OwnService:
    try:
        runs = owner(database) is not None
    except CannotOpen:  # the finding on the database says so
        runs = False
    return OwnService(runs, database_mark(database))


async def _embedded_nats(settings: Settings) -> tuple[list[Finding], list[str]]:
    store, port = Path(settings.nats.store_dir), settings.nats.port
    try:
        if store_lock.is_taken(store):
            return [await _running_nats(settings, store)], []
        require_writable(store)
    except OSError as exc:
        return [Finding("NATS", False, f"{exc}. Set [nats] store_dir to a folder of its own.")], []
    occupant = await occupant_of(port)
    if occupant.kind == "nats":
        return [Finding("NATS", False, in_the_way(port, occupant))], []
    notes = [
        f"The password of {user.name} in [[nats.users]] is empty here; without it, that bot cannot"
        " log in."
        for user in settings.nats.users
        if not user.password
    ]
    if occupant.kind != "nobody":
        by = {"embedded": "another rosey-llm"}.get(occupant.kind, "another program")
        notes.append(f"Port {port} is taken by {by}; NATS would take the next one.")
    return [await _startable_nats(settings, store)], notes


async def _running_nats(settings: Settings, store: Path) -> Finding:
    """Find out whether bots can log in with what the service has written for them."""
    file, names = url_file.path_in(store), settings.nats.subjects
    subjects = Subjects(**{name: getattr(names, name) for name in Subjects._fields})
    try:
        async with Client(file, subjects=subjects):
            pass
    except CannotConnect as exc:
        return Finding("NATS", False, f"embedded, {store}, in use by a service. {exc}")
    where = f"embedded, {store}, in use by a running service"
    return Finding("NATS", True, f"{where}; its login for bots is in {file}")


async def _startable_nats(settings: Settings, store: Path) -> Finding:
    try:
        # In a folder of its own: only whether the server starts is to be found out.
        with tempfile.TemporaryDirectory(prefix="rosey-llm-check-") as folder:
            server = EmbeddedNats(Path(folder), 0, rights=BotRights(), program=settings.nats.server)
            await server.start()
            await server.stop()
    except (EmbeddedNatsError, OSError) as exc:
        return Finding("NATS", False, str(exc))
    return Finding("NATS", True, f"embedded, {store}")


async def _database(settings: Settings) -> Finding:
    path = Path(settings.storage.path)
    try:
        await asyncio.to_thread(examine, path)
    except DatabaseInUse:
        return Finding("database", True, f"{path}, in use by a running service")
    except CannotOpen as exc:
        return Finding("database", False, str(exc))
    return Finding("database", True, str(path))


def backup_notes(storage: StorageSettings, now: int) -> list[str]:
    """Return what is wrong with the copies that the service makes by itself, at the time `now`."""
    if not storage.backup_every_h:
        return []
    database = Path(storage.path)
    try:
        found = backup_folder.backups(database)
    except OSError as exc:
        return [f"The copies in {exc.filename} cannot be read: {exc.strerror}."]
    if not found:
        return []
    age_h = (now - found[-1].made_ms) / 3_600_000
    if age_h <= 2 * storage.backup_every_h:
        return []
    return [
        f"The newest copy in {backup_folder.folder_of(database)} is {age_h:,.0f} hours old, and"
        f" backup_every_h is {storage.backup_every_h}. The service's log says why."
    ]


def _retention_note(settings: Settings) -> list[str]:
    try:
        note = retention.held_note(settings.storage, now_ms())
    except CannotOpen:  # the finding on the database says so; an older version has no sweeps
        return []
    return [note] if note else []


async def _providers(settings: Settings) -> list[Finding]:
    needed = settings.provider_names
    others = _providers_of_some(settings)
    names = list(dict.fromkeys([*needed, *others, *settings.providers]))
    statuses = await asyncio.gather(*(_status(settings, name) for name in names))
    return [
        Finding(
            f"provider {name}",
            status.available,
            "; ".join(filter(None, [status.detail, others.get(name, "")])),
            name in needed,
            status.misconfigured,
        )
        for name, status in zip(names, statuses, strict=True)
    ]


def _providers_of_some(settings: Settings) -> dict[str, str]:
    """Return the providers of some channels only, each with these as a phrase.

    These are the first provider of each rule that names one, and those of `[models] allow`.
    """
    rules: dict[str, list[str]] = {}
    for rule in settings.channels.rules:
        if rule.provider is not None:
            rules.setdefault(rule.provider, []).append(rule.match)
    found = {name: f"it answers in {', '.join(matches)}" for name, matches in rules.items()}
    for name in dict.fromkeys(map(provider_of, settings.models.allow)):
        choice = "rooms may choose its models"
        found[name] = f"{found[name]}; {choice}" if name in found else choice
    return found


async def _moderations(settings: Settings) -> list[Finding]:
    """Have each moderation of `[safety]`, and of the rules, judge a harmless word."""
    ruled = [settings.safety_of(rule) for rule in settings.channels.rules]
    named = {(each.moderation, each.moderation_model): each for each in [*ruled, settings.safety]}
    return await asyncio.gather(
        *(
            _moderation(settings, each, needed=each == settings.safety and _refuses(each))
            for each in named.values()
            if each.moderation
        )
    )


def _refuses(safety: SafetySettings) -> bool:
    return safety.on_failure == "refuse"


async def _moderation(settings: Settings, safety: SafetySettings, *, needed: bool) -> Finding:
    part = f"moderation {safety.moderation}"
    provider = settings.new_provider(safety.moderation)
    moderator = Moderator(provider, safety.moderation_model, safety.moderation_timeout_s)
    try:
        await moderator.judge(HARMLESS)
    except ProviderError as exc:
        then = "nothing is answered" if _refuses(safety) else "nothing is judged"
        works = Finding(part, False, f"{exc}; until then {then}", needed)
    else:
        works = Finding(part, True, f"it judges with {safety.moderation_model}", needed)
    finally:
        await moderator.aclose()
    return works


async def _status(settings: Settings, name: str) -> Status:
    try:
        provider = registry.build(name, settings.provider_table(name))
    except Exception as exc:  # noqa: BLE001 - a third-party provider may raise anything
        return Status(False, f"cannot be created: {type(exc).__name__}: {exc}", misconfigured=True)
    return await _guarded_status(provider)


async def _guarded_status(provider: LLMProvider) -> Status:
    chain = ProviderChain([provider])
    try:
        return (await chain.statuses())[provider.name]
    finally:
        await chain.aclose()


async def _prices(settings: Settings) -> list[Finding]:
    """Say where the price of each configured model comes from, if the settings have prices."""
    if not settings.prices and not settings.accounting.price_list:
        return []
    try:
        await asyncio.to_thread(price_list.prepare, settings)
    except CannotStart as exc:
        return [Finding("prices", False, str(exc))]
    named = [settings.provider_names]
    named += [settings.provider_names_of(rule) for rule in settings.channels.rules]
    providers = []
    for name in dict.fromkeys(name for names in named for name in names):
        with contextlib.suppress(Exception):  # the finding on the provider says so
            providers.append(registry.build(name, settings.provider_table(name)))
    return [
        Finding(f"price {each.provider}/{each.model}", each.is_known, each.text, needed=False)
        for each in price_sources.sources(settings, providers)
    ]
