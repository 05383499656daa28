"""The program of the embedded model's child process: llama.cpp's HTTP server on 127.0.0.1.

Standard input: one JSON line, a `ServerCommand`. When the input is closed, the program ends.
Standard output: one JSON line, {"port": 41234}, when the server is healthy.
Standard error: messages of llama.cpp.

It is run by its path, so it must not import any module of ours.
"""

from __future__ import annotations

import ctypes
import http.client
import json
import os
import signal
import sys
import threading
import time
from typing import Any, TypedDict
from urllib.parse import urlsplit

_PR_SET_PDEATHSIG = 1
_HEALTH_TRIES = 600
_HEALTH_PAUSE_S = 0.1


class ServerCommand(TypedDict):
    """The settings that the parent sends. `context_tokens` is for one answer, not for all."""

    model_path: str
    alias: str
    api_key: str
    context_tokens: int
    parallel: int
    threads: int
    parent_pid: int


def main() -> None:
    report = _private_stdout()
    command: ServerCommand = json.loads(sys.stdin.readline())
    _end_with(command["parent_pid"])
    threading.Thread(target=_end_at_eof, daemon=True).start()
    # The engine must get processor time while the model computes on every core.
    os.nice(5)
    server = _serve(command)
    port = urlsplit(server.listening_address).port or 0
    _await_health(port)
    with os.fdopen(report, "w") as out:
        out.write(json.dumps({"port": port}) + "\n")
    threading.Event().wait()


def _private_stdout() -> int:
    """Return a copy of standard output, for the port only; send other output to standard error."""
    report = os.dup(1)
    os.dup2(2, 1)
    return report


def _end_with(parent_pid: int) -> None:
    # The thread that notices the end of standard input can be delayed by a busy interpreter.
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:
        os._exit(0)


def _end_at_eof() -> None:
    while sys.stdin.readline():
        pass
    os._exit(0)


def _serve(command: ServerCommand) -> Any:
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = command["model_path"]
    # Without an alias, every answer would name the file's path as its model.
    params.model_alias = {command["alias"]}
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.api_keys = [command["api_key"]]
    params.n_parallel = command["parallel"]
    # The server divides its context among its slots.
    params.n_ctx = command["context_tokens"] * command["parallel"]
    # Its threads spin while they wait for each other: with one thread more than free cores, an
    # answer takes sixty times as long. So one core is left for the engine.
    for cpu in (params.cpuparams, params.cpuparams_batch):
        cpu.n_threads = command["threads"] or max(1, _cores() - 1)
        cpu.poll = 0
    # Without a penalty on repetition, a model this small repeats itself without end.
    params.sampling.penalty_repeat = 1.1
    params.sampling.penalty_last_n = 256
    params.sampling.dry_multiplier = 0.8
    # By default it keeps up to 8 GiB of prompts, and serves a web page and the prompts of others.
    params.cache_ram_mib = 0
    params.ui = False
    params.endpoint_slots = False
    params.offline = True
    params.verbosity = 1
    return xllamacpp.Server(params)


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _await_health(port: int) -> None:
    for _ in range(_HEALTH_TRIES):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", "/health")
            if connection.getresponse().status == http.client.OK:
                return
        finally:
            connection.close()
        time.sleep(_HEALTH_PAUSE_S)
    raise SystemExit("the model server listens but does not become healthy")


if __name__ == "__main__":
    main()
