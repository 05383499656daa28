"""The environment variables of every test, whatever the shell has that starts the tests.

A key of a provider, a colour, a language or a time zone there would change what our programs say.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping

LOOPBACK = "127.0.0.1,localhost,::1"
# Variables that begin like this are taken away. Others of ROSEY_LLM_ are for the tests themselves.
OURS = (
    "OLLAMA_",
    "OPENAI_",
    "OPENROUTER_",
    "OTEL_",
    *(f"ROSEY_LLM_{part}" for part in ("CONFIG", "IRC_", "NATS_", "SERVER_")),
)
LOOKS = ("CLICOLOR", "COLORTERM", "COLUMNS", "FORCE_COLOR", "LINES", "NO_COLOR", "TTY_")
LANGUAGES = ("LANGUAGE", "LC_")
SYSTEMD = ("NOTIFY_SOCKET", "WATCHDOG_")
PLACES = ("BROWSER", "SUDO_USER", "XDG_STATE_HOME")
PYTHON = ("PYTHONASYNCIODEBUG", "PYTHONDEVMODE", "PYTHONIOENCODING", "PYTHONUTF8", "PYTHONWARNINGS")
LEFT_OUT = (*OURS, *LOOKS, *LANGUAGES, *SYSTEMD, *PLACES, *PYTHON)
SET = {"LANG": "C.UTF-8", "TERM": "xterm", "TZ": "UTC"}


def known(shell: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of a shell without those that our programs would heed."""
    kept = {name: value for name, value in shell.items() if not name.startswith(LEFT_OUT)}
    # Downloads of some tests may need a proxy; the servers of all tests are on this machine.
    before = kept.get("no_proxy") or kept.get("NO_PROXY") or ""
    local = before if before.endswith(LOOPBACK) else ",".join(filter(None, [before, LOOPBACK]))
    return kept | SET | {"no_proxy": local, "NO_PROXY": local}


def enter() -> None:
    """Make this process, and all that it starts, run in a known environment."""
    wanted = known(os.environ)
    for name in os.environ.keys() - wanted.keys():
        del os.environ[name]
    os.environ.update(wanted)
    time.tzset()
    os.umask(0o022)
