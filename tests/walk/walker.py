"""Runs commands in a folder as an operator would; a service stays running in the background."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.patience import WAIT_S
from tests.walk.script import Step

READY = "is ready"


class Walker:
    """A shell for steps: runs them in one folder and stops its background processes at the end."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._background: list[subprocess.Popen[str]] = []

    def run(self, step: Step) -> Step:
        """Run the step's command; return it with its real output, the folder shown as ~/bot."""
        if step.command.endswith(" &"):
            printed = self._start_in_background(step.command)
        else:
            printed = self._run_in_foreground(step.command)
        return Step(step.command, printed.replace(str(self._folder), "~/bot"))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for process in self._background:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
            process.communicate(timeout=WAIT_S)

    def _run_in_foreground(self, command: str) -> str:
        done = subprocess.run(
            ["bash", "-c", command],  # noqa: S607
            cwd=self._folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=WAIT_S,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}"
        return done.stdout

    def _start_in_background(self, command: str) -> str:
        """Start a process in a session of its own; return the line that says it is ready."""
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
        self._background.append(process)
        assert process.stdout is not None
        for line in process.stdout:
            if READY in line:
                return line
        raise AssertionError(log.read_text())

    @property
    def _environment(self) -> dict[str, str]:
        """Environment variables; PATH finds this environment's `rosey-llm` and `python` first."""
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        named = {name: os.environ[name] for name in ("HOME", "LANG") if name in os.environ}
        return {**named, "PATH": path, "COLUMNS": "100", "TZ": "UTC"}
