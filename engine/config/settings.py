"""The settings of rosey-llm.toml as frozen records with their defaults."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Any, Literal

from engine.config.budget_settings import BudgetSettings, Dollars
from engine.config.channel_rules import NO_RULE, ChannelRule, ChannelRules
from engine.config.personas import Persona
from engine.config.safety_settings import SafetySettings
from providers import registry
from providers.base import LLMProvider
from providers.chain.fallback import FallbackOn
from providers.validation import Count, Limit, Range, Seconds, Secret

NO_SECRET = Secret("")
KEYED = ("openai", "openrouter")  # kinds whose key may come from an environment variable
Port = Annotated[int, Range(least=0, most=65535)]


@dataclass(frozen=True, kw_only=True)
class ServiceSettings:
    """`max_context_messages` includes the new message, but not the system prompt."""

    max_context_messages: Count = 10
    default_persona: str = "default"
    bot_name: str = "Rosey"
    drain_timeout_s: Seconds = 20.0


@dataclass(frozen=True, kw_only=True)
class ConversationSettings:
    """`first_delta_ms`: how long the first delta is held, so that a short answer comes whole."""

    stream: bool = True
    stream_interval_ms: Limit = 50
    first_delta_ms: Limit = 0
    max_message_bytes: Count = 64 * 1024
    max_reply_bytes: Count = 256 * 1024
    turn_timeout_s: Seconds = 1800.0


@dataclass(frozen=True, kw_only=True)
class ChannelSettings:
    """The limits of mailboxes and of channels in memory, and what is special in some channels.

    stays: the only providers that may see what is said, in all channels; () for any.
    rules: settings by pattern of the channel's id.
    """

    mailbox_limit: Count = 32
    mailbox_limit_per_user: Count = 8
    mailbox_limit_bytes: Count = 1024 * 1024
    commands_limit: Count = 10_000
    commands_limit_bytes: Count = 64 * 1024 * 1024
    resident_limit: Count = 10_000
    passivate_after_s: Seconds = 300.0
    snapshot_interval_s: Seconds = 5.0
    stays: tuple[str, ...] = ()
    rules: tuple[ChannelRule, ...] = ()

    @cached_property
    def _by_channel(self) -> ChannelRules:
        return ChannelRules(self.rules)

    def rule_of(self, channel_id: str) -> ChannelRule:
        """Return the first rule that matches this channel, NO_RULE if none does."""
        return self._by_channel.of(channel_id) if self.rules else NO_RULE


@dataclass(frozen=True, kw_only=True)
class PermissionSettings:
    """Who may do what: "*" is everybody, "admin" an admin, any other word a role.

    admins: the platform's ids of users; of a platform without ids, their names.
    trust_roles: whether `roles` in messages count, also "admin". A bot that sends them must be
    trusted to send the true ones.
    """

    admins: tuple[str, ...] = ()
    trust_roles: bool = False
    reset: str = "*"
    persona: str = "*"
    persona_edit: str = "admin"
    model: str = "admin"
    undo: str = "*"
    undo_others: str = "admin"
    retry: str = "*"
    stop_others: str = "*"
    stop_all: str = "admin"
    remember: str = "*"
    forget_others: str = "admin"
    allow_tools: str = "admin"


@dataclass(frozen=True, kw_only=True)
class ModelSettings:
    """`allow`: the models that rooms may choose, as "provider/model"; with * and ? in the model."""

    allow: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class AccessSettings:
    """Who is heard at all. All lists hold patterns with `*` and `?`.

    users_deny: ids or names, in any case. users_allow: the same; if it is not empty, all others
    are denied. channels_allow: if it is not empty, all other channels are denied.
    answer_denied: whether a denied sender is told so; otherwise only its reply subject hears of it.
    answer_bots: whether messages with `is_bot` are answered, a few a minute.
    """

    users_allow: tuple[str, ...] = ()
    users_deny: tuple[str, ...] = ()
    channels_allow: tuple[str, ...] = ()
    answer_denied: bool = False
    answer_bots: bool = False


@dataclass(frozen=True, kw_only=True)
class ServiceLimitSettings:
    """How many requests to the service API may come in a time; 0 sets no limit."""

    user_per_minute: Limit = 10
    user_per_hour: Limit = 100
    user_per_day: Limit = 500
    channel_per_minute: Limit = 0


@dataclass(frozen=True, kw_only=True)
class LimitSettings:
    """How many requests a user or a channel may send in a time; 0 sets no limit.

    timezone: whose days count, such as "Europe/Berlin".
    service: the limits of the service API, which hold beside these.
    """

    user_per_minute: Limit = 0
    user_per_hour: Limit = 0
    user_per_day: Limit = 0
    channel_per_minute: Limit = 0
    timezone: str = "UTC"
    service: ServiceLimitSettings = field(default_factory=ServiceLimitSettings)


@dataclass(frozen=True, kw_only=True)
class Price:
    """What a model costs, in USD for a million tokens. `cached`: of the prompt's cached ones."""

    input: Dollars
    output: Dollars
    cached: Dollars | None = None


@dataclass(frozen=True, kw_only=True)
class AccountingSettings:
    """`price_list`: has the prices that neither `[prices]` has nor a provider says; "" for none."""

    price_list: Literal["", "genai-prices"] = ""


@dataclass(frozen=True, kw_only=True)
class StorageSettings:
    """How the history is kept.

    retention_days: messages are erased after this many days; 0 keeps them for ever.
    backup_every_h: hours between two copies of the database; 0 makes none.
    backup_keep: how many copies are kept.
    """

    path: str = "data/rosey-llm.db"
    durability: Literal["full", "normal"] = "full"
    dedupe_days: Count = 2
    retention_days: Limit = 0
    retention_days_by_channel: Mapping[str, Limit] = field(default_factory=dict)
    search_index: bool = True
    backup_before_migration: bool = True
    backup_every_h: Limit = 0
    backup_keep: Count = 7


@dataclass(frozen=True, kw_only=True)
class SubjectSettings:
    chat: str = "rosey.command.chat"
    request: str = "llm.request"
    response: str = "llm.response"
    error: str = "llm.error"
    stream: str = "llm.stream"
    status: str = "llm.status"


@dataclass(frozen=True, kw_only=True)
class NatsUserSettings:
    """A login for a bot on the embedded server.

    password: itself, or its bcrypt hash. jetstream: whether it may use JetStream, which reaches
    every subject: such a bot must be trusted as the engine is.
    """

    name: str
    password: Secret
    jetstream: bool = False


@dataclass(frozen=True, kw_only=True)
class NatsSettings:
    """How to connect to NATS, or how to run the embedded server.

    url: "embedded", or the address of a server, or several of one cluster, with commas.
    port, store_dir: of the embedded server.
    server: the program of the embedded server; "" takes that on PATH, else that of the extra.
    tls_first: the TLS handshake comes first, so that nothing is sent in plain text. The server
    needs `handshake_first`.
    reply_to_allow: subjects, with wildcards, that the `reply_to` of a message may name, besides
    inboxes.

    Of the embedded server only: open: clients without a login are let in. allow: subjects, with
    wildcards, that bots may use among themselves. jetstream: on, with jetstream_max_bytes on disk.
    users: more logins for bots.
    """

    url: str = "embedded"
    port: Port = 4222
    store_dir: str = "data/nats"
    server: str = ""
    open: bool = False
    allow: tuple[str, ...] = ()
    jetstream: bool = False
    jetstream_max_bytes: Count = 1024 * 1024 * 1024
    users: tuple[NatsUserSettings, ...] = ()
    user: str = ""
    password: Secret = NO_SECRET
    token: Secret = NO_SECRET
    credentials: str = ""
    tls_ca: str = ""
    tls_cert: str = ""
    tls_key: str = ""
    tls_first: bool = True
    reply_to_allow: tuple[str, ...] = ()
    subjects: SubjectSettings = field(default_factory=SubjectSettings)


@dataclass(frozen=True, kw_only=True)
class HttpSettings:
    """Where health and metrics are served, without a login: `host` should be a loopback address."""

    enabled: bool = True
    host: str = "127.0.0.1"
    port: Port = 9464


@dataclass(frozen=True, kw_only=True)
class LogSettings:
    """`content`: whether the log shows messages, answers and user names."""

    format: Literal["text", "json"] = "text"
    level: Literal["debug", "info", "warning", "error"] = "info"
    content: bool = False


@dataclass(frozen=True, kw_only=True)
class TracingSettings:
    """`endpoint`: an OTLP collector's HTTP address; "" leaves it to $OTEL_EXPORTER_OTLP_*."""

    enabled: bool = False
    endpoint: str = ""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The whole configuration. `providers` holds each provider's table, checked, but not converted.

    texts: sentences by key, and tables of them by language, checked (`engine/texts/texts.py`).

    Paths, also those in "${file:...}", start at the configuration file's folder or at "~".
    A provider's module may be in that folder, too.
    """

    name: str = "rosey-llm"
    enabled: bool = True
    default_provider: str = "ollama"
    fallback_providers: tuple[str, ...] = ("local",)
    fallback_on: FallbackOn = "passing"
    service: ServiceSettings = field(default_factory=ServiceSettings)
    conversation: ConversationSettings = field(default_factory=ConversationSettings)
    channels: ChannelSettings = field(default_factory=ChannelSettings)
    models: ModelSettings = field(default_factory=ModelSettings)
    permissions: PermissionSettings = field(default_factory=PermissionSettings)
    access: AccessSettings = field(default_factory=AccessSettings)
    limits: LimitSettings = field(default_factory=LimitSettings)
    accounting: AccountingSettings = field(default_factory=AccountingSettings)
    prices: Mapping[str, Price] = field(default_factory=dict)
    budgets: BudgetSettings = field(default_factory=BudgetSettings)
    safety: SafetySettings = field(default_factory=SafetySettings)
    storage: StorageSettings = field(default_factory=StorageSettings)
    nats: NatsSettings = field(default_factory=NatsSettings)
    http: HttpSettings = field(default_factory=HttpSettings)
    log: LogSettings = field(default_factory=LogSettings)
    tracing: TracingSettings = field(default_factory=TracingSettings)
    personas: Mapping[str, Persona] = field(default_factory=dict)
    texts: Mapping[str, Any] = field(default_factory=dict)
    # repr=False: API keys in here are plain strings, not `Secret`.
    providers: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def provider_names(self) -> list[str]:
        """The providers in the order in which they are asked."""
        return self.provider_names_of(NO_RULE)

    def provider_names_of(self, rule: ChannelRule) -> list[str]:
        """The providers for the channels of a rule, in the order in which they are asked.

        A rule that names a provider has no other one, unless it names them, too.
        """
        fallback = rule.fallback_providers
        if fallback is None:
            fallback = () if rule.provider is not None else self.fallback_providers
        return list(dict.fromkeys([rule.provider or self.default_provider, *fallback]))

    def language_of(self, channel_id: str) -> str:
        """Return the language of what is said in a channel, a key of `texts`; "" for none."""
        return self.channels.rule_of(channel_id).texts or ""

    def safety_of(self, rule: ChannelRule) -> SafetySettings:
        """Return what is checked in the channels of a rule."""
        return self.safety.ruled(rule.safety)

    def window_of(self, channel_id: str) -> int:
        """Return how many messages of this channel the model is shown, with the new one."""
        window = self.channels.rule_of(channel_id).max_context_messages
        return self.service.max_context_messages if window is None else window

    def new_providers(self) -> list[LLMProvider]:
        """Return the providers in the order in which they are asked; none has started."""
        return [self.new_provider(name) for name in self.provider_names]

    def new_provider(self, name: str) -> LLMProvider:
        """Return the provider of this name; it has not started."""
        return registry.build(name, self.provider_table(name))

    def provider_table(self, name: str) -> Mapping[str, Any]:
        """Return the provider's table, with its key from the environment if it has none."""
        values = dict(self.providers.get(name, {}))
        if key := _key_from_environment(values.get("kind", name), values):
            values["api_key"] = key
        return values


def _key_from_environment(kind: object, values: Mapping[str, Any]) -> str:
    """Return the key for a table without one; "" if there is none.

    Only for `KEYED` kinds at their default address: no other server may see this key.
    """
    if kind not in KEYED or str(values.get("api_key", "")).strip():
        return ""
    cls = registry.find(str(kind))
    default: str = getattr(cls.Config(), "base_url", "")
    base_url = str(values.get("base_url", default)).strip().rstrip("/")
    variable: str = getattr(cls, "key_variable", "")
    return os.environ.get(variable, "") if base_url == default else ""
