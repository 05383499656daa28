"""Reads and checks rosey-llm.toml into `Settings`; errors name file, key and what was expected."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from engine.clock import zone_of
from engine.config import allowed_models, bot_logins, budget_checks, persona_tables, rule_checks
from engine.config.expansion import absolute, expand
from engine.config.personas import BUILT_IN
from engine.config.settings import KEYED, NatsSettings, Settings, TracingSettings
from engine.errors import CannotStart
from engine.texts import texts
from providers import registry, validation
from providers.validation import ValidationError

DEFAULT_FILE = "rosey-llm.toml"
ABOVE_TABLES = ("default_provider", "fallback_providers", "fallback_on")


def load(path: Path | None) -> Settings:
    """Read `path`; None gives the defaults. Raises CannotStart with what is wrong and where."""
    if path is None:
        return parse({}, Path.cwd())
    values = _read(path)
    with _naming(path):
        return parse(values, path.parent)


def database_of(path: Path | None) -> Path:
    """Return the database's path, even if other keys are wrong. Raises CannotStart."""
    if path is None:
        return Path(load(None).storage.path)
    storage = _read(path).get("storage", {})
    values = {"path": storage["path"]} if isinstance(storage, dict) and "path" in storage else {}
    with _naming(path):
        return Path(parse({"storage": values}, path.parent).storage.path)


def parse(values: Mapping[str, Any], folder: Path) -> Settings:
    """Return a configuration's values as settings with absolute paths. Raises ValidationError."""
    folder = folder.absolute()
    settings = _read_settings(_with_joined_servers(expand(values, "", folder)))
    persona_tables.check(settings)
    texts.check(settings.texts)
    allowed_models.check(settings)
    settings = _with_absolute_paths(settings, folder)
    _check_providers(settings, folder)
    rule_checks.check(settings)
    _check_nats(settings.nats)
    bot_logins.check(settings.nats)
    _check_tracing(settings.tracing)
    _check_timezone(settings.limits.timezone)
    channels = replace(settings.channels, rules=persona_tables.rules_of(settings))
    settings = replace(settings, personas=persona_tables.all_of(settings), channels=channels)
    budget_checks.check(settings)
    return settings


def _check_timezone(name: str) -> None:
    try:
        zone_of(name)
    except ValueError:
        problem = (
            f'expected a time zone of this machine, such as "UTC" or "Europe/Berlin", got "{name}"'
        )
        raise ValidationError("limits.timezone", problem) from None


def _with_joined_servers(values: Any) -> Any:
    """Write a list of servers in `[nats] url` as one string, with commas."""
    nats = values.get("nats") if isinstance(values, Mapping) else None
    urls = nats.get("url") if isinstance(nats, Mapping) else None
    if not isinstance(nats, Mapping) or not isinstance(urls, list):
        return values
    for index, url in enumerate(urls):
        if not isinstance(url, str) or "," in url:
            shown = validation.shown(url)
            raise ValidationError(f"nats.url[{index}]", f"expected one address, got {shown}")
    return {**values, "nats": {**nats, "url": ",".join(urls)}}


def _read_settings(values: object) -> Settings:
    try:
        return validation.read(values, Settings)
    except ValidationError as exc:
        section, _, rest = exc.path.partition(".")
        name = rest.removesuffix(".prompt")
        if section != "personas" or exc.problem != "missing" or name.lower() not in BUILT_IN:
            raise
        problem = "missing; a built-in persona is replaced as a whole: add its prompt"
        raise ValidationError(exc.path, problem) from exc


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
def _naming(path: Path) -> Iterator[None]:
    """Turn a ValidationError into a CannotStart that names the file."""
    try:
        yield
    except ValidationError as exc:
        table, _, key = exc.path.rpartition(".")
        if table and key in ABOVE_TABLES:  # appended to the file, it belongs to the last table
            problem = "unknown key; it belongs at the top of the file, above the first [table]"
            exc = ValidationError(exc.path, problem)
        raise CannotStart(f"{path}: {exc}") from exc


def _with_absolute_paths(settings: Settings, folder: Path) -> Settings:
    nats = settings.nats
    files: dict[str, Any] = {
        key: absolute(value, folder, f"nats.{key}")
        for key in ("server", "credentials", "tls_ca", "tls_cert", "tls_key")
        if (value := getattr(nats, key))
    }
    store_dir = absolute(nats.store_dir, folder, "nats.store_dir")
    path = absolute(settings.storage.path, folder, "storage.path")
    return replace(
        settings,
        storage=replace(settings.storage, path=path),
        nats=replace(nats, store_dir=store_dir, **files),
        providers={
            name: _with_absolute_files(name, values, folder)
            for name, values in settings.providers.items()
        },
    )


def _with_absolute_files(name: str, values: object, folder: Path) -> Mapping[str, Any]:
    if not isinstance(values, Mapping):
        raise ValidationError(
            f"providers.{name}", f"expected a table, got {validation.shown(values)}"
        )
    files = {
        key: absolute(value, folder, f"providers.{name}.{key}")
        for key in ("model_path", "ca_file")
        if isinstance(value := values.get(key), str) and value
    }
    if not files:
        return values
    # Only if the provider's configuration has these keys.
    config = type(registry.build(name, {**values, **files}, folder)).Config
    known = {each.name for each in fields(config)}
    return {**values, **{key: path for key, path in files.items() if key in known}}


def _check_providers(settings: Settings, folder: Path) -> None:
    places = list(rule_checks.provider_places(settings))
    keyed = [name for _, name in places if name in KEYED]
    for name in dict.fromkeys([*settings.providers, *keyed]):
        registry.build(name, settings.provider_table(name), folder)
    for path, name in places:
        _check_provider_name(path, name, settings, folder)


def _check_provider_name(path: str, name: str, settings: Settings, folder: Path) -> None:
    if name in settings.providers or name in registry.KINDS:
        return
    known = sorted({*settings.providers, *registry.known()})
    if name not in known and ":" not in name:
        hint = validation.suggestion(name, known) or f"; expected one of {', '.join(known)}"
        raise ValidationError(path, f'unknown provider "{name}"{hint}')
    try:
        registry.find(name, folder)
    except ValidationError as exc:
        raise ValidationError(path, exc.problem) from exc


def _check_nats(nats: NatsSettings) -> None:
    urls = nats.url.split(",")
    for index, url in enumerate(urls):
        path = "nats.url" if len(urls) == 1 else f"nats.url[{index}]"
        if nats.url != "embedded":
            _check_server(url.strip(), path)
    if len({url.strip().startswith("ws") for url in urls}) > 1:
        raise ValidationError("nats.url", "expected all servers with ws:// or wss://, or none")
    for index, pattern in enumerate(nats.reply_to_allow):
        if not re.fullmatch(r"[^\s.>]+(\.[^\s.>]+)*(\.>)?", pattern):
            path = f"nats.reply_to_allow[{index}]"
            raise ValidationError(
                path, f'expected a subject such as "bots.*.replies", got "{pattern}"'
            )
    subjects = nats.subjects
    names = [getattr(subjects, each.name) for each in fields(subjects)]
    for each, subject in zip(fields(subjects), names, strict=True):
        if not re.fullmatch(r"[^\s.*>]+(\.[^\s.*>]+)*", subject):
            raise ValidationError(
                f"nats.subjects.{each.name}",
                f'expected a subject without wildcards, got "{subject}"',
            )
        if names.count(subject) > 1:
            raise ValidationError(f"nats.subjects.{each.name}", f'"{subject}" is used twice')


def _check_server(url: str, path: str) -> None:
    """Raise ValidationError if this cannot be the address of a NATS server."""
    try:
        parts = urlsplit(url)
        # Anything behind the port would be ignored, or taken for part of the name.
        usable = parts.hostname and parts.port != 0 and parts.path in ("", "/")
        usable = usable and not (parts.query or parts.fragment or re.search(r"\s", url))
        usable = usable and parts.scheme in ("nats", "tls", "ws", "wss")
    except ValueError:
        usable = False
    if not usable:
        # Hide anything that may be a login, even in a malformed address.
        shown = re.sub(r"(?is)^([a-z0-9+.-]*:?//)?.*@", r"\1***@", url)
        expected = 'expected "embedded" or an address such as nats://host:4222'
        raise ValidationError(path, f'{expected}, got "{shown}"')


def _check_tracing(tracing: TracingSettings) -> None:
    try:
        parts = urlsplit(tracing.endpoint)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    # The address is not shown: it may contain a password.
    if tracing.endpoint and (not usable or "@" in parts.netloc):
        raise ValidationError(
            "tracing.endpoint",
            'expected an address such as "http://localhost:4318", without a login; '
            "headers come from OTEL_EXPORTER_OTLP_HEADERS",
        )
