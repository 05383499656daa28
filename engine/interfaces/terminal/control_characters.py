"""Characters that act on a terminal instead of being shown."""

from __future__ import annotations

import re
import sys
from typing import IO

# The controls C0 (without tab and line feed), DEL and C1, which move the cursor or begin sequences;
# embeddings, overrides and isolates, which show the letters around them in another order. Spaces of
# any width, joiners and marks of direction are part of honest writing, and stay.
_ACTING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_LINE_ENDS = re.compile("\r\n|[\u2028\u2029]")


def harmless(text: str) -> str:
    """Return the text without characters that act on a terminal."""
    return _ACTING.sub("", _LINE_ENDS.sub("\n", text))


def for_stream(text: str, stream: IO[str] | None = None) -> str:
    """Return a text of a user or a model as it may be written to `stream`, by default stdout.

    Only a terminal needs protection; a pipe or a file gets every character.
    """
    return harmless(text) if (stream or sys.stdout).isatty() else text
