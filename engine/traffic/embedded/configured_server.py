"""The embedded server that the settings ask for, with the rights of its bots."""

from __future__ import annotations

from pathlib import Path

from engine.client.subjects import Subjects
from engine.config.settings import NatsSettings
from engine.traffic.embedded.server import BotLogin, BotRights, EmbeddedNats
from engine.traffic.micro_service import QUESTIONS


def configured_server(settings: NatsSettings, *, beside_nats: bool = False) -> EmbeddedNats:
    """Return the server; nothing starts yet.

    beside_nats: it starts also if another NATS server has its port, on the next.
    """
    subjects = settings.subjects
    # A bot that hears all three by one subscription gets them in order.
    together = Subjects(
        subjects.chat, subjects.request, subjects.response, subjects.error, subjects.stream
    ).wildcard
    inputs = [subjects.chat, subjects.request]
    outputs = [subjects.response, subjects.error, subjects.stream, subjects.status]
    rights = BotRights(
        publish=[*inputs, *QUESTIONS],
        subscribe=[*outputs, *([together] if together else [])],
        never_publish=outputs,
        never_hear=inputs,
        among_bots=settings.allow,
    )
    logins = [
        BotLogin(name=user.name, password=str(user.password), jetstream=user.jetstream)
        for user in settings.users
    ]
    return EmbeddedNats(
        Path(settings.store_dir),
        settings.port,
        rights=rights,
        logins=logins,
        is_open=settings.open,
        jetstream_max_bytes=settings.jetstream_max_bytes if settings.jetstream else 0,
        program=settings.server,
        beside_nats=beside_nats,
    )
