"""A trial of an installation: in a new environment, from `pip install` to an answer of the model."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from providers.version import VERSION

ROOT = Path(__file__).parents[2]
LIMIT_S = 600.0


class TrialFailed(Exception):
    """A command did not do what it should. The message is all that it printed."""


class Trial:
    """Installs, configures, checks and runs rosey-llm, asks it a question, and adds an extra.

    folder: an empty one. source: a wheel, a source distribution, or a folder with the source.
    """

    def __init__(self, folder: Path, source: str, say: Callable[[str], None]) -> None:
        self._folder = folder
        self._source = source
        self._say = say
        self._bin = folder / "venv" / "bin"
        # As in a user's shell: nothing of this checkout and of its environment.
        self._environment = {
            name: value for name, value in os.environ.items() if not name.startswith("PYTHON")
        }

    def run(self) -> None:
        """Raises TrialFailed."""
        self._command("install", sys.executable, "-m", "venv", str(self._bin.parent))
        constraints = str(ROOT / "constraints.txt")
        self._rosey_python("-m", "pip", "install", "-c", constraints, f"{self._source}[embedded]")
        self._rosey("model", "install")
        self._expect(f"rosey-llm, version {VERSION}", self._rosey("--version"))
        self._rosey("init", said="local\n" + "\n" * 20)
        self._expect("can answer", self._rosey("check"))
        self._ask()
        self._add_an_extra()

    def _ask(self) -> None:
        with subprocess.Popen(
            [self._bin / "rosey-llm", "run"],
            cwd=self._folder,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as service:
            try:
                assert service.stdout is not None
                self._expect("rosey-llm is ready: NATS", service.stdout.readline())
                answer = self._rosey("chat", said="What is Python?\n")
            finally:
                service.send_signal(signal.SIGTERM)
                service.communicate(timeout=LIMIT_S)
        self._say(f"  answer: {' '.join(answer.split())[:70]} ...")
        if not answer.strip() or service.returncode:
            raise TrialFailed(f"answer {answer!r}, exit code {service.returncode}")

    def _add_an_extra(self) -> None:
        """The command that an error names must work."""
        said = self._rosey("audit", fails=True)
        _, found, command = said.partition("The audit page needs Datasette: ")
        if not found:
            raise TrialFailed(said)
        self._command("the named command", *shlex.split(command))
        self._rosey_python("-c", "import datasette")

    def _rosey(self, *arguments: str, said: str = "", fails: bool = False) -> str:
        program = str(self._bin / "rosey-llm")
        name = f"rosey-llm {arguments[0]}"
        return self._command(name, program, *arguments, said=said, fails=fails)

    def _rosey_python(self, *arguments: str) -> None:
        self._command(" ".join(arguments)[:60], str(self._bin / "python"), *arguments)

    def _command(self, name: str, *words: str, said: str = "", fails: bool = False) -> str:
        """Run a command; return what it printed. It must fail if and only if `fails`."""
        self._say(f"  {name}")
        done = subprocess.run(
            words,
            cwd=self._folder,
            env=self._environment,
            input=said,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
        if bool(done.returncode) != fails:
            raise TrialFailed(f"{shlex.join(words)}: exit code {done.returncode}\n{done.stdout}")
        return done.stdout

    @staticmethod
    def _expect(wanted: str, printed: str) -> None:
        if wanted not in printed:
            raise TrialFailed(f"expected {wanted!r}, got:\n{printed}")
