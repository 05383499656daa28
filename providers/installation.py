"""Says how to add to this installation of rosey-llm what an extra brings.

No release is on a package index yet, and anyone may take a free name there. So a command that we
print never names an index's package `rosey-llm`: it names the source or the wheel that this
installation came from.
"""

from __future__ import annotations

import importlib.metadata
import json
import shlex
import sys
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname


def install_command(extra: str) -> str:
    """Return the shell command that installs an extra. It contains paths of this machine."""
    source, editable = _origin()
    if source is None:
        found, where = Path("."), ", in the folder with rosey-llm's source"
    else:
        found, where = source, ""
    words = [sys.executable, "-m", "pip", "install"]
    if (found / "constraints.txt").is_file():
        words += ["-c", str(found / "constraints.txt")]
    words += ["-e"] if editable else []
    words.append(f"{found}[{extra}]")
    return shlex.join(words) + where


def _origin() -> tuple[Path | None, bool]:
    """Return the folder or wheel that was installed (PEP 610), and whether it is editable.

    None if it is not known, or no longer there.
    """
    try:
        told = importlib.metadata.distribution("rosey-llm").read_text("direct_url.json")
        record = json.loads(told or "{}")
        parts = urlsplit(record["url"])
        path = Path(url2pathname(parts.path))
        if parts.scheme == "file" and path.exists():
            return path, bool(record.get("dir_info", {}).get("editable"))
    except (importlib.metadata.PackageNotFoundError, ValueError, LookupError, TypeError):
        pass
    return None, False
