"""The configuration file of the embedded server. It has no password in it."""

from __future__ import annotations

import os
from pathlib import Path

import orjson

from engine.traffic.embedded.port import HOST, SERVER_NAME

_CONFIG = """\
server_name: {name}
host: {host}
port: {port}
ports_file_dir: {directory}
log_file: {log_file}
logfile_size_limit: 10MB
logfile_max_num: 3
max_payload: 1MB
max_pending: 64MB
# The engine may stand still for longer: a suspended machine, a debugger. What waits for it is in
# the server's memory, up to max_pending; a bot that is dead is found by its pings.
write_deadline: "5m"
ping_interval: "60s"
ping_max: 5
{jetstream}{logins}"""
# After a crash of the machine, at most ten seconds of what bots stored are lost.
_JETSTREAM = """\
jetstream {{
  store_dir: {directory}
  max_memory_store: 64MB
  max_file_store: {max_bytes}
  sync_interval: "10s"
}}
"""


def write(
    store_dir: Path, port: int, log_file: Path, jetstream_max_bytes: int, logins: str
) -> Path:
    """Write the file again and return its path. Raises OSError.

    port: 0 for any. jetstream_max_bytes: 0 without JetStream. logins: their block.
    """
    directory, max_bytes = _quoted(store_dir), jetstream_max_bytes
    text = _CONFIG.format(
        name=SERVER_NAME,
        host=HOST,
        port=port or -1,
        directory=directory,
        log_file=_quoted(log_file),
        jetstream=_JETSTREAM.format(directory=directory, max_bytes=max_bytes) if max_bytes else "",
        logins=logins,
    )
    path = store_dir / "nats-server.conf"
    path.unlink(missing_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    return path


def _quoted(path: Path) -> str:
    return orjson.dumps(str(path)).decode()
