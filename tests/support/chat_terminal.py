"""`rosey-llm chat` in a terminal of its own, with a person at the keys."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import wcwidth

from tests.support.command_line import COMMAND, utf8
from tests.support.patience import WAIT_S

CTRL_C, CTRL_D, ENTER, TAB, UP = "\x03", "\x04", "\r", "\t", "\x1b[A"
READY = "alice>"  # an editor does not write the space, it moves its cursor


class ChatTerminal:
    """A running chat. `raw` is all that it wrote, and `shown` the same without sequences."""

    def __init__(self, folder: Path, *arguments: str, columns: int = 80, **env: str) -> None:
        self.raw = ""
        self._decoder = utf8()
        self._seen = 0
        self._keys, screen = pty.openpty()
        fcntl.ioctl(screen, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        self._screen = screen
        self.modes = self.modes_now()
        self.process = subprocess.Popen(
            [COMMAND, "chat", "--user", "alice", *arguments],
            cwd=folder,
            stdin=screen,
            stdout=screen,
            stderr=screen,
            env={
                **os.environ,
                "PATH": f"{Path(COMMAND).parent}:{os.environ['PATH']}",
                "TERM": "xterm",
                "XDG_STATE_HOME": str(folder / "state"),
                **env,
            },
            preexec_fn=_own_the_terminal,  # so that Ctrl-C is a signal for it
        )

    @property
    def shown(self) -> str:
        return wcwidth.strip_sequences(self.raw).replace("\r", "")

    @property
    def words(self) -> str:
        """What is shown, wherever its lines are broken."""
        return " ".join(self.shown.split())

    def modes_now(self) -> list[object]:
        return termios.tcgetattr(self._screen)

    def press(self, keys: str) -> None:
        os.write(self._keys, keys.encode())

    def wait_for(self, text: str) -> str:
        """Return what is shown from the last wait on, up to and including `text`."""
        deadline_s = time.monotonic() + WAIT_S
        while text not in self.shown[self._seen :]:
            self._read(deadline_s)
        start, self._seen = self._seen, self.shown.index(text, self._seen) + len(text)
        return self.shown[start : self._seen]

    def press_until(self, keys: str, text: str) -> None:
        """Press again until `text` is shown: of two signals at once, a process may see one."""
        deadline_s = time.monotonic() + WAIT_S
        while text not in self.shown[self._seen :]:
            self.press(keys)
            self._read(deadline_s)
        self.wait_for(text)

    def ended(self) -> int:
        """Return the exit code, once the chat has ended; what it wrote is in `raw` then."""
        os.set_blocking(self._keys, False)
        deadline_s = time.monotonic() + WAIT_S
        while time.monotonic() < deadline_s:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(timeout=0.1)
            with contextlib.suppress(BlockingIOError):
                self.raw += self._decoder.decode(os.read(self._keys, 65536))
                continue
            if self.process.returncode is not None:
                return self.process.returncode
        raise AssertionError(f"The chat did not end: {self.shown[-3000:]}")

    def _read(self, deadline_s: float) -> None:
        """Read what is written within a moment, if anything is."""
        assert time.monotonic() < deadline_s, self.shown[-3000:]
        if select.select([self._keys], [], [], 0.2)[0]:
            self.raw += self._decoder.decode(os.read(self._keys, 65536))

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._keys)
        os.close(self._screen)


def _own_the_terminal() -> None:
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


@contextmanager
def chatting(
    folder: Path, *arguments: str, columns: int = 80, **env: str
) -> Iterator[ChatTerminal]:
    """Run a chat in a terminal; it is at its first prompt."""
    chat = ChatTerminal(folder, *arguments, columns=columns, **env)
    try:
        chat.wait_for(READY)
        yield chat
    finally:
        chat.close()
