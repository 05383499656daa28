"""Settings: frozen records for rosey-llm.toml. An error names file, path and expectation."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from engine.actors.personas import BUILT_IN, Persona
from engine.errors import CannotStart
from engine.expansion import absolute, expand
from providers import records, table
from providers.records import Count, Limit, Range, RecordError, Seconds, Secret

NO_SECRET = Secret("")
DEFAULT_FILE = "rosey-llm.toml"
KEYED = ("openai", "openrouter")  # the kinds whose key may come from the environment alone
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
    """`retention_days`: after how many days what was said is erased; 0 keeps it for ever."""

    path: str = "data/rosey-llm.db"
    durability: Literal["full", "normal"] = "full"
    dedupe_days: Count = 2
    retention_days: Limit = 0
    retention_days_by_channel: Mapping[str, Limit] = field(default_factory=dict)
    search_index: bool = True


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
class HttpSettings:
    """Where health and metrics are; there is no login, so `host` should stay a loopback one."""

    enabled: bool = True
    host: str = "127.0.0.1"
    port: Port = 9464


@dataclass(frozen=True, kw_only=True)
class LogSettings:
    """`content`: whether what is said, and by whom, stands in the log."""

    format: Literal["text", "json"] = "text"
    level: Literal["debug", "info", "warning", "error"] = "info"
    content: bool = False


@dataclass(frozen=True, kw_only=True)
class TracingSettings:
    """`endpoint`: where OTLP is spoken over HTTP; "" leaves it to $OTEL_EXPORTER_OTLP_*."""

    enabled: bool = False
    endpoint: str = ""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The whole configuration. `providers` holds each provider's own table, checked but raw.

    Paths, also those in "${file:...}", start at the configuration file's folder or at "~". A
    provider's module is looked for in that folder, too.
    """

    name: str = "rosey-llm"
    enabled: bool = True
    default_provider: str = "ollama"
    fallback_providers: tuple[str, ...] = ("local",)
    service: ServiceSettings = field(default_factory=ServiceSettings)
    conversation: ConversationSettings = field(default_factory=ConversationSettings)
    channels: ChannelSettings = field(default_factory=ChannelSettings)
    storage: StorageSettings = field(default_factory=StorageSettings)
    nats: NatsSettings = field(default_factory=NatsSettings)
    http: HttpSettings = field(default_factory=HttpSettings)
    log: LogSettings = field(default_factory=LogSettings)
    tracing: TracingSettings = field(default_factory=TracingSettings)
    personas: Mapping[str, Persona] = field(default_factory=dict)
    # Not shown: raw, so keys are no `Secret` yet.
    providers: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def provider_names(self) -> list[str]:
        """Who may answer, in the order in which they are asked."""
        return list(dict.fromkeys([self.default_provider, *self.fallback_providers]))

    def provider_table(self, name: str) -> Mapping[str, Any]:
        """What the provider is built from: its table, and a key from the environment at need."""
        values = dict(self.providers.get(name, {}))
        if key := _key_from_environment(values.get("kind", name), values):
            values["api_key"] = key
        return values


def load(path: Path | None) -> Settings:
    """Read `path`, or the defaults where it is None. CannotStart says what is wrong and where."""
    if path is None:
        return parse({}, Path.cwd())
    values = _read(path)
    with _named(path):
        return parse(values, path.parent)


def database_of(path: Path | None) -> Path:
    """Where the database of `path` is, whatever else may be wrong in it. Raises CannotStart."""
    if path is None:
        return Path(load(None).storage.path)
    storage = _read(path).get("storage", {})
    values = {"path": storage["path"]} if isinstance(storage, dict) and "path" in storage else {}
    with _named(path):
        return Path(parse({"storage": values}, path.parent).storage.path)


def parse(values: Mapping[str, Any], folder: Path) -> Settings:
    """A configuration's values as settings, with paths made absolute. Raises RecordError."""
    folder = folder.absolute()
    settings = _structured(expand(values, "", folder))
    _check_personas(settings)
    settings = _with_absolute_paths(settings, folder)
    _check_providers(settings, folder)
    _check_nats(settings.nats)
    _check_tracing(settings.tracing)
    return replace(settings, personas={**BUILT_IN, **settings.personas})


def _structured(values: object) -> Settings:
    try:
        return records.read(values, Settings)
    except RecordError as exc:
        section, _, rest = exc.path.partition(".")
        name = rest.removesuffix(".prompt")
        if section != "personas" or exc.problem != "missing" or name.lower() not in BUILT_IN:
            raise
        problem = "missing; a built-in persona is replaced as a whole, so write its prompt, too"
        raise RecordError(exc.path, problem) from exc


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except UnicodeDecodeError as exc:
        raise CannotStart(f"{path}: not UTF-8: {exc.reason} at byte {exc.start}") from exc
    except OSError as exc:
        raise CannotStart(f"{path}: cannot be read: {exc.strerror}") from exc
    except tomllib.TOMLDecodeError as exc:
        raise CannotStart(f"{path}: not TOML: {exc}") from exc


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """The file's name before what is wrong in it."""
    try:
        yield
    except RecordError as exc:
        raise CannotStart(f"{path}: {exc}") from exc


def _with_absolute_paths(settings: Settings, folder: Path) -> Settings:
    nats = settings.nats
    files: dict[str, Any] = {
        key: absolute(value, folder, f"nats.{key}")
        for key in ("credentials", "tls_ca", "tls_cert", "tls_key")
        if (value := getattr(nats, key))
    }
    store_dir = absolute(nats.store_dir, folder, "nats.store_dir")
    path = absolute(settings.storage.path, folder, "storage.path")
    return replace(
        settings,
        storage=replace(settings.storage, path=path),
        nats=replace(nats, store_dir=store_dir, **files),
        providers={
            name: _with_absolute_model_path(name, values, folder)
            for name, values in settings.providers.items()
        },
    )


def _with_absolute_model_path(name: str, values: object, folder: Path) -> Mapping[str, Any]:
    if not isinstance(values, Mapping):
        raise RecordError(f"providers.{name}", f"expected a table, got {records.shown(values)}")
    model_path = values.get("model_path")
    if not isinstance(model_path, str) or not model_path:
        return values
    # A provider of somebody else may mean no file by this name, if it has it at all.
    config = type(table.build(name, values, folder)).Config
    if "model_path" not in {each.name for each in fields(config)}:
        return values
    path = absolute(model_path, folder, f"providers.{name}.model_path")
    return {**values, "model_path": path}


def _key_from_environment(kind: object, values: Mapping[str, Any]) -> str:
    """The key for a table that has none; "" where there is none either.

    Only for our own kinds at their own address: no other server may be shown such a key.
    """
    if kind not in KEYED or str(values.get("api_key", "")).strip():
        return ""
    cls = table.find(str(kind))
    default: str = getattr(cls.Config(), "base_url", "")
    base_url = str(values.get("base_url", default)).strip().rstrip("/")
    variable: str = getattr(cls, "key_variable", "")
    return os.environ.get(variable, "") if base_url == default else ""


def _check_personas(settings: Settings) -> None:
    seen: dict[str, str] = {}
    for name in settings.personas:
        if (first := seen.setdefault(name.lower(), name)) != name:
            raise RecordError(
                f"personas.{name}",
                f"the same as personas.{first}; names are matched without regard to case",
            )
        if not re.fullmatch(r"\S{1,40}", name):
            raise RecordError(
                f"personas.{name}", "expected a name of one word, up to 40 characters"
            )
    known = [*BUILT_IN, *settings.personas]
    default = settings.service.default_persona
    if default.lower() not in {name.lower() for name in known}:
        hint = records.suggestion(default, known) or f"; there are {', '.join(known)}"
        raise RecordError("service.default_persona", f'unknown persona "{default}"{hint}')


def _check_providers(settings: Settings, folder: Path) -> None:
    keyed = [name for name in settings.provider_names if name in KEYED]
    for name in dict.fromkeys([*settings.providers, *keyed]):
        table.build(name, settings.provider_table(name), folder)
    _check_provider_name("default_provider", settings.default_provider, settings, folder)
    for index, name in enumerate(settings.fallback_providers):
        _check_provider_name(f"fallback_providers[{index}]", name, settings, folder)


def _check_provider_name(path: str, name: str, settings: Settings, folder: Path) -> None:
    if name in settings.providers or name in table.KINDS:
        return
    known = sorted({*settings.providers, *table.known()})
    if name not in known and ":" not in name:
        hint = records.suggestion(name, known) or f"; there are {', '.join(known)}"
        raise RecordError(path, f'unknown provider "{name}"{hint}')
    try:
        table.find(name, folder)
    except RecordError as exc:
        raise RecordError(path, exc.problem) from exc


def _check_nats(nats: NatsSettings) -> None:
    if nats.url != "embedded" and not re.match(r"(nats|tls|ws|wss)://[^\s]+", nats.url):
        # Whatever may be a user and a password is left out, wherever the mistake is.
        url = re.sub(r"(?is)^([a-z0-9+.-]*:?//)?.*@", r"\1***@", nats.url)
        raise RecordError("nats.url", f'expected "embedded" or nats://..., got "{url}"')
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


def _check_tracing(tracing: TracingSettings) -> None:
    try:
        parts = urlsplit(tracing.endpoint)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    # Not said again: it may hold a password.
    if tracing.endpoint and (not usable or "@" in parts.netloc):
        raise RecordError(
            "tracing.endpoint",
            'expected an address such as "http://localhost:4318", without a user; '
            "headers come from OTEL_EXPORTER_OTLP_HEADERS",
        )
