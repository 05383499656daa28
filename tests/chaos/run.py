"""A chaos run: starts NATS, a model server and bots, kills engines, and judges the result."""

from __future__ import annotations

import asyncio
import logging
import random
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from engine.traffic.embedded.server import BotRights, EmbeddedNats
from tests.chaos.bots import Bot, RequestLog
from tests.chaos.engine import EngineProcess
from tests.chaos.ground import RunFolder
from tests.chaos.saboteur import DRAIN_LIMIT_S, Damage, Saboteur
from tests.chaos.scene import CHANNELS, Scene
from tests.chaos.verdict import SHOWN, Evidence, Verdict, format_table, judge
from tests.chaos.witness import Ledger, Witness

EMPTY_LIMIT_S = 60.0
MUST_BE_ZERO = ("lost", "doubled", "out of order")
CHECKS = (
    "prompts",
    "asked too often",
    "personas",
    "too early",
    "strangers",
    "left over",
    "history",
    "states",
    "deltas",
    "schemas",
    "engines",
)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The parameters of a run; it ends after `kills`, or after `seconds` if these come first.

    questions: if the model has seen fewer by then, as on a busy machine, the killing goes on.
    patience_s: how long the bots may go on resending to the last engine.
    breakage: one of BREAKAGES.
    """

    seed: int
    kills: int = 500
    questions: int = 0
    seconds: float = 1200.0
    bots: int = 8
    channels: int = len(CHANNELS)
    pause_s: float = 0.05
    patience_s: float = 60.0
    breakage: str | None = None


@dataclass(frozen=True)
class RunResult:
    plan: Plan
    evidence: Evidence
    verdict: Verdict

    @property
    def good(self) -> bool:
        return not any(self.verdict.faults.values())

    def lines(self) -> Iterator[str]:
        """Yield the lines of the table at the end of a run."""
        verdict, damage, ledger = self.verdict, self.evidence.damage, self.evidence.ledger
        kinds = sorted(damage.kills.items())
        yield from format_table(
            [
                ("seed", self.plan.seed),
                ("accepted", verdict.accepted),
                ("settled without waiting (stops)", verdict.at_once),
                ("answered", verdict.answered),
                ("failed", _counts(verdict.failed.items())),
                *((f"{kind} (must be 0)", verdict.count(kind)) for kind in MUST_BE_ZERO),
                *((f"  {kind} (must be 0)", verdict.count(kind)) for kind in CHECKS),
                ("order not judged, no server then", verdict.not_judged),
                ("copies received of outcomes", sum(ledger.copies.values())),
                ("refusals", _counts(ledger.refusals.items())),
                ("checks whether it was committed", ledger.commit_checks),
                ("prompts compared", sum(map(len, self.evidence.prompts.values()))),
                ("kills survived", damage.killed),
                *((f"  {kind}", number) for kind, number in kinds),
                ("NATS servers killed", damage.nats_kills),
                ("engines frozen", damage.freezes),
                ("engines drained", damage.drains),
            ]
        )
        for kind, faults in verdict.faults.items():
            yield from (f"{kind}: {fault:.1000}" for fault in faults[:SHOWN])
        yield "good" if self.good else "NOT GOOD"


async def run(
    plan: Plan,
    folder: Path,
    report: Callable[[str], None] = lambda _: None,
    scene: Scene | None = None,
) -> RunResult:
    """Carry out a run. All its files are in `folder`; `report` is called with its progress.

    scene: who speaks; by default, bots in many channels.
    """
    # nats-py logs each failed attempt to connect.
    logging.getLogger("nats").setLevel(logging.CRITICAL)
    rng = random.Random(plan.seed)
    if scene is None:
        scene = Scene(rng, plan.bots, plan.channels)
    model = scene.model
    run_folder, ledger, request_log, damage = RunFolder(folder), Ledger(), RequestLog(), Damage()
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(model)
        nats = await stack.enter_async_context(nats_server(folder))
        run_folder.prepare(scene.config(nats))
        await _start_witness(stack, ledger, run_folder, nats)
        bots = scene.bots(ledger, request_log)
        for bot in bots:
            await bot.connect(nats.bot_url)
            stack.push_async_callback(bot.close)
        spawn = partial(
            EngineProcess.spawn,
            run_folder.config,
            run_folder.log,
            breakage=plan.breakage,
            charges=scene.records_charges,
        )
        saboteur = Saboteur(spawn, nats, damage, rng, report, rest_s=scene.rest_s)
        stack.push_async_callback(saboteur.aclose)
        bot_tasks = [asyncio.create_task(bot.send_bursts(plan.pause_s)) for bot in bots]
        stack.push_async_callback(_cancel, bot_tasks)
        deadline_s = asyncio.get_running_loop().time() + plan.seconds
        await saboteur.kill_engines(
            lambda: damage.killed >= plan.kills and len(model.seen) >= plan.questions, deadline_s
        )
        model.failing = False
        exit_code = await _finish(saboteur, bots, bot_tasks, run_folder, plan.patience_s)
    log = run_folder.log.read_text(errors="replace")
    evidence = Evidence(run_folder, ledger, request_log, damage, model.seen, exit_code, log)
    return RunResult(plan, evidence, judge(evidence))


async def _finish(
    saboteur: Saboteur,
    bots: list[Bot],
    bot_tasks: list[asyncio.Task[None]],
    run_folder: RunFolder,
    patience_s: float,
) -> int | None:
    """Let the last engine answer what is open, then drain it; return its exit code."""
    engine = await saboteur.start_last_engine()
    try:
        for bot in bots:
            bot.stop()
        await asyncio.wait(bot_tasks, timeout=patience_s)
        for bot in bots:
            bot.give_up()
        await asyncio.gather(*bot_tasks)
        await _wait_until_empty(run_folder, min(patience_s, EMPTY_LIMIT_S))
        engine.signal(signal.SIGTERM)
        return await engine.wait(DRAIN_LIMIT_S)
    finally:
        await engine.kill()


async def _wait_until_empty(run_folder: RunFolder, limit_s: float) -> None:
    """Wait until nothing waits and all is published; if that never happens, the verdict tells."""
    open_rows = (
        "SELECT (SELECT count(*) FROM mailbox) +"
        " (SELECT count(*) FROM outbox WHERE published_ms IS NULL)"
    )
    for _ in range(int(limit_s / 0.1)):
        if not run_folder.rows(open_rows)[0][0]:
            return
        await asyncio.sleep(0.1)


@asynccontextmanager
async def nats_server(folder: Path) -> AsyncIterator[EmbeddedNats]:
    # A port below those of outgoing connections, and not another run's: the server must get the
    # same one after each kill.
    nats = EmbeddedNats(
        folder / "nats",
        random.SystemRandom().randrange(15_000, 30_000),
        rights=BotRights(
            publish=["rosey.command.chat", "llm.request"],
            subscribe=["llm.response", "llm.error", "llm.stream"],
        ),
    )
    async with nats:
        yield nats


async def _start_witness(
    stack: AsyncExitStack, ledger: Ledger, run_folder: RunFolder, nats: EmbeddedNats
) -> None:
    witness = Witness(ledger, run_folder)
    await witness.listen(nats.url, nats.engine_user, nats.engine_password)
    stack.push_async_callback(witness.close)


async def _cancel(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _counts(items: Any) -> str:
    shown = ", ".join(f"{name} {number}" for name, number in sorted(items))
    return f"{sum(number for _, number in items)}" + (f" ({shown})" if shown else "")
