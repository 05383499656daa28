"""`python -m tests.recording`: writes `docs/images/demo.svg` from a real run of the demo."""

from __future__ import annotations

import itertools
import os
import sys
from pathlib import Path

from tests.recording import svg, terminal
from tests.recording.terminal import Picture

FILE = Path(__file__).parents[2] / "docs" / "images" / "demo.svg"
COMMAND = Path(sys.executable).with_name("rosey-llm")
TITLE = "rosey-llm demo: an engine is killed in the middle of its answers, and nothing is lost"
# The picture starts with the command, and the last page stays for long enough to read it.
TYPED_S, LAST_S, LONGEST_PAUSE_S = 1.0, 9.0, 3.0


def main() -> None:
    pictures = _paced(
        terminal.record([str(COMMAND), "demo"], "make demo", "Enter ends", as_after_make())
    )
    FILE.write_text(svg.draw(pictures, pictures[-1].at_s + LAST_S, TITLE), encoding="utf-8")
    sys.stdout.write(f"{FILE}: {FILE.stat().st_size:,} bytes\n")


def as_after_make() -> dict[str, str]:
    """Return the environment of a person whose PATH does not have the program.

    The commands that are shown then have its path, and can be typed.
    """
    folders = [
        each
        for each in os.environ["PATH"].split(os.pathsep)
        if not (Path(each) / COMMAND.name).exists()
    ]
    return os.environ | {"PATH": os.pathsep.join(folders)}


def _paced(pictures: list[Picture]) -> list[Picture]:
    """Shorten the pauses of a machine that was busy."""
    paced = [pictures[0]]
    for before, picture in itertools.pairwise(pictures):
        pause_s = min(LONGEST_PAUSE_S, picture.at_s - before.at_s)
        paced.append(Picture(round(paced[-1].at_s + pause_s, 3), picture.runs))
    return paced


if __name__ == "__main__":
    main()
