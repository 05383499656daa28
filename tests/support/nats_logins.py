"""NATS logins with permissions: an engine that may do some things only, and a free guest."""

from __future__ import annotations

import orjson

INPUTS = ["rosey.command.chat", "llm.request"]
OUTPUTS = ["llm.response", "llm.error", "llm.stream", "llm.status"]
LOGIN = {"user": "engine", "password": "engine-secret"}
GUEST = {"user": "guest", "password": "guest-secret"}


def logins(
    hears: list[str] = INPUTS,
    says: list[str] = OUTPUTS,
    services: list[str] | None = None,
) -> str:
    """Return a server's configuration: an engine with these permissions, and a free guest."""
    subscribe = orjson.dumps([*hears, *(["$SRV.>"] if services is None else services)]).decode()
    publish = orjson.dumps([*says, "_INBOX.>"]).decode()
    return f"""
    authorization {{ users: [
      {{ user: engine, password: engine-secret,
         permissions: {{ subscribe: {subscribe}, publish: {publish} }} }}
      {{ user: guest, password: guest-secret }}
    ] }}"""
