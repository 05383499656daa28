"""The engine on a slow disk: a small library delays each of its syncs."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from tests.bench.closed_loops import loops
from tests.bench.figures import Plan, Result, row
from tests.bench.open_loops import LATENCY_MODEL, added, paced
from tests.bench.stage import FAST_MODEL, Contestant, Stage, Variant

SYNC_MS = 5
LIBRARY = f"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <unistd.h>
static int later(const char *name, int fd) {{
    usleep({SYNC_MS} * 1000);
    return ((int (*)(int))dlsym(RTLD_NEXT, name))(fd);
}}
int fdatasync(int fd) {{ return later("fdatasync", fd); }}
int fsync(int fd) {{ return later("fsync", fd); }}
"""


def can_be_slow() -> bool:
    return os.uname().sysname == "Linux" and shutil.which("cc") is not None


async def slow_disk(stage: Stage, plan: Plan) -> Result:
    """Measure turns a second, and what the engine adds to an answer's time at 500 a second.

    rows: of the closed loops. The rest: see `open_loops.added`, in syncs of the slow disk.
    """
    slow = {"LD_PRELOAD": str(_library(stage.folder))}
    async with stage.running(Variant("slow-disk", environment=slow)) as engine:

        def contestants(model: str) -> dict[str, Contestant]:
            return {"bare loop": stage.bare(model), "engine": engine.by_request(model)}

        closed = await loops(contestants(FAST_MODEL), plan)
        answers = await paced(contestants(LATENCY_MODEL), plan, stage.folder)
    return {
        "rows": {name: row(each, closed["bare loop"]) for name, each in closed.items()},
        **added(answers, SYNC_MS),
    }


def _library(folder: Path) -> Path:
    source, library = folder / "slow_disk.c", folder / "slow_disk.so"
    source.write_text(LIBRARY)
    compiler = shutil.which("cc") or "cc"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    return library
