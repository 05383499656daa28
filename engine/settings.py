"""Settings: frozen records for rosey-llm.toml. An error names file, path and expectation."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from engine.actors.personas import BUILT_IN, Persona
from engine.errors import CannotStart
from providers import records, table
from providers.records import Count, Limit, Range, RecordError, Seconds, Secret

NO_SECRET = Secret("")
DEFAULT_FILE = "rosey-llm.toml"
Port = Annotated[int, Range(least=0, most=65535)]


@dataclass(frozen=True, kw_only=True)
class ServiceSettings:
    """`max_context_messages` counts the new message; the system prompt comes on top."""

    max_context_messages: Count = 10
    default_persona: str = "default"
    bot_name: str = "Rosey"
    drain_timeout_s: Seconds = 20.0


@dataclass(frozen=True, kw_only=True)
class ConversationSettings:
    stream: bool = True
    stream_interval_ms: Limit = 50
    max_message_bytes: Count = 64 * 1024
    max_reply_bytes: Count = 256 * 1024
    turn_timeout_s: Seconds = 1800.0


@dataclass(frozen=True, kw_only=True)
class ChannelSettings:
    """The limits of one channel's mailbox, of all of them together, and of memory."""

    mailbox_limit: Count = 32
    mailbox_limit_bytes: Count = 1024 * 1024
    commands_limit: Count = 10_000
    commands_limit_bytes: Count = 64 * 1024 * 1024
    resident_limit: Count = 10_000
    passivate_after_s: Seconds = 300.0
    snapshot_interval_s: Seconds = 5.0


@dataclass(frozen=True, kw_only=True)
class StorageSettings:
    """Relative paths start at the configuration file's folder."""

    path: str = "data/rosey-llm.db"
    durability: Literal["full", "normal"] = "full"
    dedupe_days: Count = 2


@dataclass(frozen=True, kw_only=True)
class SubjectSettings:
    chat: str = "rosey.command.chat"
    request: str = "llm.request"
    response: str = "llm.response"
    error: str = "llm.error"
    stream: str = "llm.stream"


@dataclass(frozen=True, kw_only=True)
class NatsSettings:
    """`url` is "embedded" or a server's; `port` and `store_dir` are for the embedded one.

    tls_first: the TLS handshake comes before anything else, so that nothing is ever said in plain
    text. The server must have `handshake_first`.
    """

    url: str = "embedded"
    port: Port = 4222
    store_dir: str = "data/nats"
    user: str = ""
    password: Secret = NO_SECRET
    token: Secret = NO_SECRET
    credentials: str = ""
    tls_ca: str = ""
    tls_cert: str = ""
    tls_key: str = ""
    tls_first: bool = True
    subjects: SubjectSettings = field(default_factory=SubjectSettings)


@dataclass(frozen=True, kw_only=True)
class LogSettings:
    level: Literal["debug", "info", "warning", "error"] = "info"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The whole configuration. `providers` holds each provider's own table, checked but raw."""

    name: str = "rosey-llm"
    enabled: bool = True
    default_provider: str = "ollama"
    fallback_providers: tuple[str, ...] = ("local",)
    service: ServiceSettings = field(default_factory=ServiceSettings)
    conversation: ConversationSettings = field(default_factory=ConversationSettings)
    channels: ChannelSettings = field(default_factory=ChannelSettings)
    storage: StorageSettings = field(default_factory=StorageSettings)
    nats: NatsSettings = field(default_factory=NatsSettings)
    log: LogSettings = field(default_factory=LogSettings)
    personas: Mapping[str, Persona] = field(default_factory=dict)
    providers: Mapping[str, Any] = field(default_factory=dict)

    @property
    def provider_names(self) -> list[str]:
        """Who may answer, in the order in which they are asked."""
        return list(dict.fromkeys([self.default_provider, *self.fallback_providers]))

    def provider_table(self, name: str) -> Mapping[str, Any]:
        return dict(self.providers.get(name, {}))


def load(path: Path | None) -> Settings:
    """Read `path`, or the defaults where it is None. CannotStart says what is wrong and where."""
    if path is None:
        return parse({}, Path.cwd())
    try:
        with path.open("rb") as file:
            values = tomllib.load(file)
        return parse(values, path.parent)
    except OSError as exc:
        raise CannotStart(f"{path}: cannot be read: {exc.strerror}") from exc
    except tomllib.TOMLDecodeError as exc:
        raise CannotStart(f"{path}: not TOML: {exc}") from exc
    except RecordError as exc:
        raise CannotStart(f"{path}: {exc}") from exc


def parse(values: Mapping[str, Any], folder: Path) -> Settings:
    """A configuration's values as settings, with paths made absolute. Raises RecordError."""
    folder = folder.absolute()
    settings = records.read(_expand(values, ""), Settings)
    _check_personas(settings)
    _check_providers(settings)
    _check_nats(settings.nats)
    return replace(
        settings,
        personas={**BUILT_IN, **settings.personas},
        storage=replace(settings.storage, path=str(folder / settings.storage.path)),
        nats=replace(settings.nats, store_dir=str(folder / settings.nats.store_dir)),
    )


def _expand(value: Any, path: str) -> Any:
    """Replace "${NAME}" by the environment's value and "${file:PATH}" by that file's text.

    A variable that is not set gives "": the working example names keys that few people have.
    """
    if isinstance(value, str):
        return re.sub(r"\$\{([^}]*)\}", lambda match: _looked_up(match[1], path), value)
    if isinstance(value, Mapping):
        return {key: _expand(inner, f"{path}.{key}".strip(".")) for key, inner in value.items()}
    if isinstance(value, list):
        return [_expand(inner, f"{path}[{index}]") for index, inner in enumerate(value)]
    return value


def _looked_up(name: str, path: str) -> str:
    if not name.startswith("file:"):
        return os.environ.get(name, "")
    try:
        return Path(name.removeprefix("file:")).expanduser().read_text().strip()
    except (OSError, UnicodeDecodeError) as exc:
        raise RecordError(path, f"expected a file that can be read, got {name}: {exc}") from exc


def _check_personas(settings: Settings) -> None:
    for name in settings.personas:
        if not re.fullmatch(r"\S{1,40}", name):
            raise RecordError(
                f"personas.{name}", "expected a name of one word, up to 40 characters"
            )
    known = [*BUILT_IN, *settings.personas]
    default = settings.service.default_persona
    if default.lower() not in {name.lower() for name in known}:
        hint = records.suggestion(default, known) or f"; there are {', '.join(known)}"
        raise RecordError("service.default_persona", f'unknown persona "{default}"{hint}')


def _check_providers(settings: Settings) -> None:
    for name in settings.providers:
        table.build(name, settings.provider_table(name))
    for path, name in [
        ("default_provider", settings.default_provider),
        *((f"fallback_providers[{i}]", n) for i, n in enumerate(settings.fallback_providers)),
    ]:
        if name not in settings.providers and name not in table.KINDS:
            known = sorted({*settings.providers, *table.KINDS})
            hint = records.suggestion(name, known) or f"; there are {', '.join(known)}"
            raise RecordError(path, f'unknown provider "{name}"{hint}')


def _check_nats(nats: NatsSettings) -> None:
    if nats.url != "embedded" and not re.match(r"(nats|tls|ws|wss)://[^\s]+", nats.url):
        raise RecordError("nats.url", f'expected "embedded" or nats://..., got "{nats.url}"')
    subjects = nats.subjects
    names = [getattr(subjects, each.name) for each in fields(subjects)]
    for each, subject in zip(fields(subjects), names, strict=True):
        if not re.fullmatch(r"[^\s.*>]+(\.[^\s.*>]+)*", subject):
            raise RecordError(
                f"nats.subjects.{each.name}",
                f'expected a subject without wildcards, got "{subject}"',
            )
        if names.count(subject) > 1:
            raise RecordError(f"nats.subjects.{each.name}", f'"{subject}" is used twice')
