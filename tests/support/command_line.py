"""The command `rosey-llm`, run as a user runs it."""

from __future__ import annotations

import codecs
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.patience import WAIT_S

COMMAND = str(Path(sys.executable).with_name("rosey-llm"))
# A configuration that answers without a model.
SCRIPTED = """
default_provider = "scripted"
fallback_providers = []
[http]
port = 0
[nats]
port = 0
"""


def rosey(folder: Path, *arguments: str, said: str = "") -> subprocess.CompletedProcess[str]:
    """Run a command in `folder`, with the text `said` as its input."""
    return subprocess.run(
        [COMMAND, *arguments],
        cwd=folder,
        input=said,
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
    )


@contextmanager
def running(folder: Path) -> Iterator[str]:
    """Run `rosey-llm run` during the block; yield its ready line."""
    with subprocess.Popen(
        [COMMAND, "run"], cwd=folder, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline()
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=WAIT_S)


def utf8() -> codecs.IncrementalDecoder:
    """Return a decoder for what a terminal gives: one read may end in the middle of a letter."""
    return codecs.getincrementaldecoder("utf-8")(errors="replace")


def read_until(terminal: int, text: str) -> str:
    """Return what the terminal shows, up to `text`."""
    shown, decoder = "", utf8()
    while text not in shown:
        shown += decoder.decode(os.read(terminal, 4096))
    return shown
