"""The section `marks`: how many commits hold nothing but notes that outcomes were published.

`python -m tests.bench.marks run --config FILE` is `rosey-llm run`, which writes a letter for each
commit into the file that FILE_VARIABLE names.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import storage.writer.database
from storage.commands import MarkPublished
from storage.writer.connection import WriterConnection
from storage.writer.group_commit import GroupCommit
from storage.writer.write_queue import WriteJob
from tests.bench.figures import Plan, Result
from tests.bench.stage import FAST_MODEL, Stage, Variant

FILE_VARIABLE = "BENCH_COMMITS"
RATES = (5, 50)  # messages a second
WARM_UP_S = 2.0


async def marks(stage: Stage, plan: Plan) -> Result:
    """Measure at few messages a second, where a commit seldom holds several writes.

    share: of the commits that hold only marks, in percent.
    """
    file, rows = stage.folder / "commits", {}
    variant = Variant("marks", launcher="marks", environment={FILE_VARIABLE: str(file)})
    async with stage.running(variant) as engine:
        asked = engine.by_request(FAST_MODEL)
        for rate in RATES:
            await asked.open_loop(rate, WARM_UP_S, 0)
            before = len(file.read_bytes())
            await asked.open_loop(rate, 5.0 if plan.quick else 20.0, 1)
            commits = file.read_bytes()[before:]
            share = 100 * commits.count(b"m") / len(commits)
            rows[str(rate)] = {"commits": len(commits), "share": share}
    return {"rows": rows}


class CountedCommit(GroupCommit):
    """A group commit that writes what each commit held: "m" for marks alone, "c" for more."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._file = Path(os.environ[FILE_VARIABLE]).open("ab", buffering=0)  # noqa: SIM115

    def make(self, connection: WriterConnection, jobs: Sequence[WriteJob[Any]]) -> None:
        changes = connection.total_changes
        super().make(connection, jobs)
        if connection.total_changes > changes:
            only_marks = all(isinstance(job.work, MarkPublished) for job in jobs)
            self._file.write(b"m" if only_marks else b"c")


if __name__ == "__main__":
    vars(storage.writer.database)["GroupCommit"] = CountedCommit

    from engine.cli import main

    main()
