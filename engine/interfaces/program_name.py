"""The name of this program in commands that are shown to a person, who can then type them."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path

NAME = "rosey-llm"


def program() -> str:
    """Return how to start this program from the shell: by its path if it is not on the PATH."""
    if Path(sys.argv[0]).name != NAME or shutil.which(NAME):
        return NAME
    return shlex.quote(os.path.relpath(sys.argv[0]))
