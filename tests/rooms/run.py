"""A run: three rooms side by side, while their rules change and providers go and come back."""

from __future__ import annotations

import asyncio
import random
import shutil
import subprocess
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import orjson
import tomlkit

from tests.rooms import rules
from tests.rooms.models import RecordedModel
from tests.rooms.rules import CELLAR, GERMAN, INSIDE, LOCKED, OUTSIDE, PLAIN, PROVIDERS, ROOMS
from tests.rooms.traffic import Traffic, Wanted, flooder, person
from tests.rooms.verdict import Verdict, judge
from tests.support.bot_urls import bot_url
from tests.support.command_line import COMMAND
from tests.support.service_process import running
from tests.test_texts_in_rooms import german

PEOPLE = ("ida", "jo", "kim")
FLOOD_PAUSES = 4  # the flooder pauses so many times as long as others do
RELOADS = 3  # of one file, at most
FAILED_MORE = 3  # failures, or answers of another provider, that are waited for


async def run(
    folder: Path,
    *,
    seconds: float = 0.0,
    rounds: int = 4,
    pause_s: float = 0.2,
    report: Callable[[str], None] = lambda _: None,
) -> Verdict:
    """Run so many rounds over so many seconds, and judge what happened.

    pause_s: the longest pause of a person. report: called with a line for each round.
    """
    traffic = Traffic()
    async with AsyncExitStack() as stack:
        models = {
            name: await stack.enter_async_context(RecordedModel(name, folder, random.Random(name)))
            for name in PROVIDERS
        }
        director = Director(folder, models, traffic)
        async with running(folder, director.configuration(0)) as service:
            await service.bot.close()  # it would keep all that it hears
            await traffic.connect(bot_url(folder))
            try:
                await _act(director, traffic, seconds, rounds, pause_s, report)
            finally:
                await traffic.close()
            exit_code = await service.end()
        await asyncio.gather(*(model.go() for model in models.values()))  # all is recorded then
        verdict = await asyncio.to_thread(judge, folder, traffic, models, rounds)
        if exit_code:
            verdict.faults.append(f"the service ended with code {exit_code}")
        verdict.faults += director.faults
        verdict.figures |= director.figures
    return verdict


async def _act(
    director: Director,
    traffic: Traffic,
    seconds: float,
    rounds: int,
    pause_s: float,
    report: Callable[[str], None],
) -> None:
    """Let people talk while the rounds pass; return when each has heard the last outcome."""
    clock = asyncio.get_running_loop().time
    began_s, is_over = clock(), False
    async with asyncio.TaskGroup() as people:
        for room in ROOMS:
            for name in PEOPLE:
                own = f"{rules.word(room)}-{name}"
                people.create_task(person(traffic, room, own, pause_s, lambda: is_over))
        people.create_task(flooder(traffic, PLAIN, FLOOD_PAUSES * pause_s, lambda: is_over))
        await director.all_rooms_answer("at the start")
        for number in range(1, rounds + 1):
            await director.round(number)
            report(f"{number} of {rounds} rounds, asked {len(traffic.asked)}")
            await asyncio.sleep(max(0.0, began_s + seconds * number / rounds - clock()))
        is_over = True


class Director:
    """What happens in a round: a reload that is refused, one that changes all rules, an outage.

    figures: how often. faults: what should not have happened.
    """

    def __init__(self, folder: Path, models: dict[str, RecordedModel], traffic: Traffic) -> None:
        self.figures = dict.fromkeys(
            ("reloads", "reloads tried again", "refused reloads", "outages"), 0
        )
        self.faults: list[str] = []
        self._folder = folder
        self._models = models
        self._traffic = traffic
        self._german = german()

    def configuration(self, number: int, leaking: bool = False) -> dict[str, Any]:
        found = rules.leaking(number) if leaking else rules.rules(number)
        ports = {name: model.port for name, model in self._models.items()}
        return rules.configuration(found, rules.texts(self._german, number), ports)

    async def all_rooms_answer(self, when: str) -> None:
        """Wait until a question that is asked from now on is answered in each room."""
        await self._hear(when, *((room, _answered, 1) for room in ROOMS))

    async def _hear(self, when: str, *awaited: tuple[str, Wanted, int]) -> None:
        heard = await asyncio.gather(*(self._traffic.hear(*each) for each in awaited))
        for (room, *_), came in zip(awaited, heard, strict=True):
            if not came:
                self.faults.append(f"{when}, {room} did not hear what it should")

    async def round(self, number: int) -> None:
        if number % 2:
            await self._refuse_to_leak(number)
        await self._reload(number)
        await self.all_rooms_answer(f"in round {number}")
        if number % 3 == 1:
            await self._outage([INSIDE], number)
        elif number % 3 == 2:
            await self._outage([INSIDE, CELLAR], number)

    async def _outage(self, gone: Sequence[str], number: int) -> None:
        """Let providers go until all rooms have noticed; then until they are used again."""
        await asyncio.gather(*(self._models[each].go() for each in gone))
        self.figures["outages"] += 1
        locked: Wanted = _failed
        if CELLAR not in gone and rules.has_cellar(number):
            locked = _by(CELLAR)
        await self._hear(
            f"in round {number}, without {gone}",
            (PLAIN, _by(OUTSIDE), FAILED_MORE),
            (GERMAN, _by(OUTSIDE), FAILED_MORE),
            (LOCKED, locked, FAILED_MORE),
        )
        await asyncio.gather(*(self._models[each].come_back() for each in gone))
        await self._hear(f"in round {number}, with {gone} again", (LOCKED, _by(INSIDE), 1))

    async def _refuse_to_leak(self, number: int) -> None:
        said = await self._reloaded(self.configuration(number, leaking=True))
        self.figures["refused reloads"] += 1
        if said["reloaded"] or "stays" not in said["error"]:
            self.faults.append(f"round {number}: a leaking rule was not refused: {said}")

    async def _reload(self, number: int) -> None:
        said = await self._reloaded(self.configuration(number))
        self.figures["reloads"] += 1
        patterns = {f"{rules.word(room)}/*" for room in ROOMS}
        if not said["reloaded"] or {*said["rules"]} != patterns:
            self.faults.append(f"round {number}: not all rules changed: {said}")

    async def _reloaded(self, configuration: dict[str, Any]) -> dict[str, Any]:
        """Write the file as an editor does, and return what `rosey-llm reload` prints.

        If it says so, it is tried again: on a busy machine the database may be locked for long.
        """
        file = self._folder / "rosey-llm.toml"
        new = file.with_suffix(".new")
        new.write_text(tomlkit.dumps(configuration))
        shutil.copymode(file, new)
        new.replace(file)
        for _ in range(RELOADS):
            said = await self._reload_command()
            if said["reloaded"] or "try again" not in said["error"]:
                break
            self.figures["reloads tried again"] += 1
        return said

    async def _reload_command(self) -> dict[str, Any]:
        process = await asyncio.create_subprocess_exec(
            *(COMMAND, "reload", "--json"),
            cwd=self._folder,
            stdout=subprocess.PIPE,
        )
        printed, _ = await process.communicate()
        said: dict[str, Any] = orjson.loads(printed)
        return said


def _by(provider: str) -> Wanted:
    return lambda outcome: outcome.get("provider") == provider


def _answered(outcome: dict[str, Any]) -> bool:
    return "provider" in outcome and outcome["action"] == "chat"


def _failed(outcome: dict[str, Any]) -> bool:
    return outcome.get("code") == "provider_unavailable"
