"""The client of a bot of ours, for an address or for the service of a configuration."""

from __future__ import annotations

from pathlib import Path

from engine.client.client import Client
from engine.client.subjects import Subjects
from engine.config.settings import NatsSettings
from engine.errors import CannotStart


def service_client(address: str | None, nats: NatsSettings | None) -> Client:
    """Return a client that is not connected yet. Raise CannotStart.

    - `address`: of NATS, with the bot's login
    - `nats`: of the configuration, if there is one; its own login is the engine's, not a bot's
    """
    if nats is None:
        return Client(address)
    names = nats.subjects
    subjects = Subjects(names.chat, names.request, names.response, names.error, names.stream)
    if address is not None:
        return Client(address, subjects=subjects)
    if nats.url == "embedded":
        return Client(Path(nats.store_dir) / "url", subjects=subjects)
    if nats.user or nats.token or nats.credentials or nats.tls_ca or nats.tls_cert:
        raise CannotStart(
            "[nats] in the configuration has the login of the engine. Name the address with the"
            " login of this bot, in the environment variable ROSEY_LLM_NATS_URL:"
            " nats://user:password@host"
        )
    return Client(nats.url, subjects=subjects)
