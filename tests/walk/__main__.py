"""`python -m tests.walk`: runs the commands of `docs/operating.md` and records their output."""

from __future__ import annotations

import tempfile
from pathlib import Path

from tests.walk import script
from tests.walk.walker import Walker

DOCUMENT = Path(__file__).parents[2] / "docs" / "operating.md"


def main() -> None:
    document = DOCUMENT.read_text()
    parts: list[str] = []
    end = 0
    with tempfile.TemporaryDirectory() as folder, Walker(Path(folder)) as walker:
        for begin, stop, steps in script.blocks(document):
            parts += document[end:begin], script.render([walker.run(step) for step in steps])
            end = stop
    DOCUMENT.write_text("".join(parts) + document[end:])


if __name__ == "__main__":
    main()
