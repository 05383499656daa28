"""Runs a walk's commands in a folder, as an operator would; the service runs beside them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.walk.script import Step

LIMIT_S = 60
READY = "is ready"


class Walker:
    """`run` gives back a step with what it really printed, and the folder's name as ~/bot."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._behind: list[subprocess.Popen[str]] = []

    def run(self, step: Step) -> Step:
        behind = step.command.endswith(" &")
        printed = self._behind_us(step.command) if behind else self._before_us(step.command)
        return Step(step.command, printed.replace(str(self._folder), "~/bot"))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for process in self._behind:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
            process.communicate(timeout=LIMIT_S)

    def _before_us(self, command: str) -> str:
        done = subprocess.run(
            ["bash", "-c", command],  # noqa: S607
            cwd=self._folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}"
        return done.stdout

    def _behind_us(self, command: str) -> str:
        """Started in a session of its own, up to the line that says that it is ready."""
        log = self._folder / "service.log"
        process = subprocess.Popen(
            ["bash", "-c", f"exec {command.removesuffix(' &')} 2>{log}"],  # noqa: S607
            cwd=self._folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._behind.append(process)
        assert process.stdout is not None
        for line in process.stdout:
            if READY in line:
                return line
        raise AssertionError(log.read_text())

    @property
    def _environment(self) -> dict[str, str]:
        """`rosey-llm` is the one of this environment, and so is `python`."""
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        named = {name: os.environ[name] for name in ("HOME", "LANG") if name in os.environ}
        return {**named, "PATH": path, "COLUMNS": "100", "TZ": "UTC"}
