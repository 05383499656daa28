"""Builds the wheel and the source distribution, and tries each: `python -m tests.dist`.

--output: the folder for both; `dist` by default.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.dist.build import built
from tests.dist.trial import Trial


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("dist"))
    output = parser.parse_args().output.absolute()
    for file in built(output):
        say(f"{file.name} ({file.stat().st_size // 1024} KiB):")
        with tempfile.TemporaryDirectory(prefix="rosey-llm-dist-") as folder:
            Trial(Path(folder), str(file), say).run()
    say(f"Both work. They are in {output}.")


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
