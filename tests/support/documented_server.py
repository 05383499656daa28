"""A nats-server with one of the configurations in `docs/security.md`."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.support.nats_servers import Server, service
from tests.support.service_harness import House

DOCS = (Path(__file__).parents[2] / "docs" / "security.md").read_text()
ENVIRONMENT = {f"{name}_PASSWORD": f"{name.lower()}-secret" for name in ("ENGINE", "ALPHA", "BETA")}


def configuration(name: str) -> str:
    found = re.search(rf"<!-- tested: {name} -->\n```\n(.*?)```", DOCS, re.DOTALL)
    assert found
    return found[1]


@asynccontextmanager
async def documented_server(house: House, folder: Path, name: str) -> AsyncIterator[Server]:
    """Run an engine on a nats-server with a configuration of the document, by its name."""
    server = Server(folder, configuration(name), ENVIRONMENT)
    async with server, service(house, server, user="engine", password="engine-secret"):
        yield server
