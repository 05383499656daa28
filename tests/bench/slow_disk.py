"""The engine on a slow disk: a small library delays each of its syncs."""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import partial
from pathlib import Path

from tests.bench.closed_loops import IN_FLIGHT, take_turns
from tests.bench.figures import Plan, Result, alternate, column, row, spread
from tests.bench.open_loops import CHANNELS, FAST, LATENCY_MODEL
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

    rows: of the closed loops. added_syncs: added_ms over the duration of the slow disk's sync.
    """

    async def paced(contestant: Contestant, seed: int) -> Result:
        seconds = plan.slice_s * 2
        return await stage.open_loop(contestant, FAST, seconds, seed, channels=CHANNELS)

    slow = {"LD_PRELOAD": str(_library(stage.folder))}
    async with stage.running(Variant("slow-disk", environment=slow)) as engine:
        contestants = {"bare loop": stage.bare(FAST_MODEL), "engine": engine.by_request(FAST_MODEL)}
        loops = await take_turns(stage, contestants, IN_FLIGHT, plan)
        slices = {
            "bare loop": partial(paced, stage.bare(LATENCY_MODEL)),
            "engine": partial(paced, engine.by_request(LATENCY_MODEL)),
        }
        for each in slices.values():
            await each(0)
        answers = await alternate(slices, plan.rounds)
    p50_ms = {name: column(each, "p50_ms") for name, each in answers.items()}
    added_ms = [own - bare for own, bare in zip(p50_ms["engine"], p50_ms["bare loop"], strict=True)]
    return {
        "rows": {name: row(each, loops["bare loop"]) for name, each in loops.items()},
        "added_ms": spread(added_ms),
        "added_syncs": spread([each / SYNC_MS for each in added_ms]),
    }


def _library(folder: Path) -> Path:
    source, library = folder / "slow_disk.c", folder / "slow_disk.so"
    source.write_text(LIBRARY)
    compiler = shutil.which("cc") or "cc"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    return library
