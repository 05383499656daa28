"""A folder to audit: history, a running engine with scripted answers, and `rosey-llm audit`."""

from __future__ import annotations

import http.client
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from storage import history, usage
from storage.history import Row
from storage.migrations import migrate
from storage.usage import Charge
from tests.support.bot_urls import ready_url
from tests.support.command_line import COMMAND
from tests.support.patience import WAIT_S
from tests.support.service_harness import Bot

HOUR_MS, DAY_MS = 3_600_000, 86_400_000
TURNS_AN_HOUR = (2, 4, 9, 15, 12, 8, 7, 10, 16, 19, 13, 8, 5, 9, 14, 17, 9, 5)
GARDEN_TURNS = sum(TURNS_AN_HOUR) // 2
USED = [
    ("alice", "#garden", "openai", "gpt-4o-mini", 300, 8_400),
    ("eve", "#support", "openai", "gpt-4o-mini", 120, 9_700),
    ("dmitri", "#music", "ollama", "llama3.2", 0, 0),
]
CONFIG = """
default_provider = "vllm"
fallback_providers = []
[http]
port = 0
[nats]
port = 0
[providers.vllm]
kind = "knowing:Knowing"
default_model = "qwen3-8b"
[prices]
"qwen3-*" = { input = 400, output = 1600 }
"""
PROVIDER = """
import asyncio

from providers.errors import ProviderUnavailable
from providers.scripted import ScriptedProvider

ANSWERS = {
    "read a file": \"\"\"Open it in a with block and go through it line by line:

    with open("notes.txt") as file:
        for line in file:
            print(line.rstrip())

The file is closed automatically, even after an error.\"\"\",
    "and write": "The same with open(path, \\"w\\"), and file.write(text) inside. Note that "
    "this empties the file first; use \\"a\\" to append.",
    "decorator": "A decorator takes a function and returns another one that replaces it. "
    "The inner function remembers the original, so it can call it at any time.",
    "boil": "Seven minutes.",
    "script": "<script>document.title = 'owned'</script>"
    "<img src=x onerror=\\"document.title='owned'\\">",
}


class Knowing(ScriptedProvider):
    def __init__(self, config=None, *, name=None):
        super().__init__(config, name=name, script=self._know)

    async def _know(self, messages, options):
        asked = messages[-1].content
        if "weather" in asked:
            raise ProviderUnavailable("vllm cannot be reached at http://127.0.0.1:8000")
        found = [text for words, text in ANSWERS.items() if words in asked]
        text = found[0] if found else "I do not know that."
        await asyncio.sleep(len(text) / 4000)
        yield text
"""
SAID = [
    ("alice", "How do I read a file line by line?"),
    ("alice", "Thanks! and write one?"),
    ("bob", "What was a decorator again? I keep forgetting how the inner function works."),
    ("bob", "What is the weather in Lisbon?"),
    ("carol", "persona concise"),
    ("carol", "How long does an egg boil?"),
]
HOSTILE = "<img src=x onerror=\"document.title='owned'\">"
HOSTILE_USER = "<script>document.title='owned'</script>"
TOMATOES = "What is a good soil for tomatoes?"
LOAM = "Something loose and rich: two parts compost, one part loam, and a handful of sand."


def write_files(folder: Path) -> None:
    (folder / "rosey-llm.toml").write_text(CONFIG)
    (folder / "knowing.py").write_text(PROVIDER)
    (folder / "data").mkdir()
    with closing(sqlite3.connect(folder / "data/rosey-llm.db", isolation_level=None)) as database:
        migrate(database, "rosey-llm.db")
        write_history(database)


def write_history(database: sqlite3.Connection) -> None:
    """Write the day before: several channels, one of them long, one with an erased turn."""
    names = ["#garden", "#music", "#support", *(f"#room-{number}" for number in range(30))]
    for channel_id, name in enumerate(names, 1):
        database.execute("INSERT INTO channel VALUES (?, ?, 0)", (channel_id, name))
    now_ms = time.time_ns() // 1_000_000
    hour_ms = now_ms - HOUR_MS * (len(TURNS_AN_HOUR) + 1)
    database.execute("BEGIN")
    number = 0
    for turns in TURNS_AN_HOUR:
        for _ in range(turns):
            channel_id = 1 if number % 2 else 2 + number // 2 % (len(names) - 1)
            add_turn(database, channel_id, hour_ms, number)
            number += 1
        hour_ms += HOUR_MS
    database.execute(
        "UPDATE history SET erased_ms = ?, content = '', username = NULL, salt = NULL"
        " WHERE request_id = ?",
        (now_ms, f"past-{2 * (GARDEN_TURNS - 2) + 1}"),
    )
    database.execute("COMMIT")


def write_usage(folder: Path) -> None:
    """Write what was used in the month before: by several people and models, some unpriced."""
    today = time.time_ns() // 1_000_000 // DAY_MS
    charges = [
        Charge(
            ("*", f"u:name {user}", f"c:{channel}", "p:default", f"e:{provider}", f"m:{model}"),
            today - back,
            requests=(number := TURNS_AN_HOUR[(back + part) % len(TURNS_AN_HOUR)]),
            prompt_tokens=number * 620,
            cached_tokens=number * cached,
            completion_tokens=number * 180,
            micro_usd=number * micro_usd,
            unpriced=0 if micro_usd else number,
        )
        for back in range(1, 29)
        for part, (user, channel, provider, model, cached, micro_usd) in enumerate(USED)
    ]
    with closing(sqlite3.connect(folder / "data/rosey-llm.db", isolation_level=None)) as database:
        usage.add(database, charges)


def add_turn(database: sqlite3.Connection, channel_id: int, ts_ms: int, number: int) -> None:
    user = ("dmitri", "eve", "alice")[number % 3]
    asked = Row("message", f"past-{number}", user, TOMATOES, "default")
    if number % 23 == 5:
        outcome = Row(
            "error", asked.request_id, user, "No answer in time.", "default", "ollama",
            code="provider_timeout",
        )  # fmt: skip
    else:
        outcome = Row(
            "answer", asked.request_id, user, LOAM, "default", "ollama", "llama3.2", "stop",
            60 + number % 40, 30 + number % 20, 700 + number % 1300,
        )  # fmt: skip
    history.append(database, [history.TurnRows(channel_id, ts_ms, [asked, outcome])])


async def send_messages(url: str) -> None:
    """Send friendly messages in one channel, and others, some hostile, elsewhere."""
    bot = await Bot.connect(url)
    try:
        await bot.ask("Let me try a script", channel=HOSTILE, username=HOSTILE_USER)
        await bot.ask("javascript:alert(1)", channel="javascript:alert(1)", username="eve")
        for channel in ("#rust", "#support", "#music", "#lobby"):
            await bot.ask("How long does an egg boil?", channel=channel, username="dmitri")
        for user, line in SAID:
            await bot.ask(line, channel="#python", username=user)
    finally:
        await bot.close()


async def send_message(url: str, line: str, channel: str, user: str) -> None:
    bot = await Bot.connect(url)
    try:
        await bot.ask(line, channel=channel, username=user)
    finally:
        await bot.close()


@contextmanager
def engine(folder: Path) -> Iterator[str]:
    """Run `rosey-llm run` in this folder; yield the address of NATS for bots."""
    environment = os.environ | {"PYTHONPATH": str(folder)}
    with subprocess.Popen(
        [COMMAND, "run"], cwd=folder, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            assert process.stdout is not None
            yield ready_url(process.stdout.readline())
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=WAIT_S)


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: dict[str, str]
    text: str


@dataclass
class AuditPage:
    """A running page. `address` is what it printed: it opens the page once, for one cookie."""

    address: str
    cookie: str = ""

    @property
    def url(self) -> str:
        """The page without a final slash."""
        return self.address.partition("?")[0].rstrip("/")

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def enter(self) -> Answer:
        """Open the page by its address, and keep the cookie."""
        entered = self.get(self.address.removeprefix(self.url))
        self.cookie = entered.headers["set-cookie"].partition(";")[0]
        return entered

    def get(self, path: str, method: str = "GET", **headers: str) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=WAIT_S)
        with closing(connection):
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            if self.cookie and "Cookie" not in named:
                named["Cookie"] = self.cookie
            connection.request(method, path, headers=named)
            response = connection.getresponse()
            text = response.read().decode()
            found = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, found, text)


@contextmanager
def audit(folder: Path, *arguments: str) -> Iterator[AuditPage]:
    """Run `rosey-llm audit`; yield its page, which nobody has opened.

    Ctrl-C must end it with exit code 0 and no output on stderr.
    """
    with subprocess.Popen(
        [COMMAND, "audit", *arguments],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(folder)},
    ) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            found = re.search(r"http://127\.0\.0\.1:\d+/\?token=\S+", line)
            assert found, line
            yield AuditPage(found[0])
        finally:
            process.send_signal(signal.SIGINT)
            try:
                _, errors = process.communicate(timeout=WAIT_S)
            finally:
                process.kill()
    assert not errors, errors
    assert process.returncode == 0, process.returncode


def audit_error(folder: Path, *arguments: str, path: Sequence[Path] = ()) -> str:
    """Return what `rosey-llm audit` prints when it cannot start."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, path))}
    done = subprocess.run(
        [COMMAND, "audit", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
        env=environment,
    )
    assert (done.returncode, done.stdout) == (3, "")
    return done.stderr


def find_program(name: str) -> str:
    """Return the path of a program that the tests need; on Debian: apt install chromium-driver."""
    found = shutil.which(name)
    assert found, f"{name} is missing: install Debian's chromium and chromium-driver"
    return found
