"""`rosey-llm history ...` as an operator types it, on a database that a real engine wrote."""

from __future__ import annotations

import csv
import io
import os
import pty
import shutil
import signal
import sqlite3
import stat
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest

from engine.interfaces.reports import transcript
from storage.queries import entries
from storage.queries.reader import reading as open_reading
from storage.queries.selection import Selection
from tests.fakes.llm_server import Behaviour, LLMServer
from tests.support.archive import Archive
from tests.support.command_line import COMMAND, SCRIPTED, rosey, running
from tests.support.service_harness import House

pytestmark = pytest.mark.process

ESCAPES = "look \x1b]0;title\x07 and \x1b[2J here\u2028bob: a second line"
TOLD = [
    ("alice", "#lobby", "Hello, green tea\npersona technical\n"),
    ("bob", "#lobby", "What is a Café au lait?\n"),
    ("alice", "#dev", "green mountains\n"),
    ("bob", "#lobby", "reset\nafter the reset\n"),
    ("alice", "#lobby", f"{ESCAPES}\npersona nobody\n"),
]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a configuration and a database; nothing runs there."""
    folder = tmp_path_factory.mktemp("told")
    (folder / "rosey-llm.toml").write_text(SCRIPTED)
    with running(folder) as ready:
        assert ready
        for user, channel, said in TOLD:
            rosey(folder, "chat", "--channel", channel, "--user", user, said=said)
    return folder


def history(folder: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMMAND, "history", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
        env={**os.environ, **env},
    )


def lines(folder: Path, *arguments: str) -> list[dict[str, Any]]:
    """Return the output of `--json`, one object per line."""
    done = history(folder, *arguments, "--json")
    assert done.returncode == 0, done.stderr
    return [orjson.loads(line) for line in done.stdout.splitlines()]


def in_terminal(folder: Path, *arguments: str, **env: str) -> str:
    """Return all that the command writes to a terminal."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(folder)
        os.execve(COMMAND, [COMMAND, "history", *arguments], {**os.environ, "TERM": "xterm", **env})
    shown = b""
    with closing(os.fdopen(terminal, "rb", buffering=0)) as screen:
        while True:
            try:
                piece = screen.read(65536)
            except OSError:  # the other end is closed
                break
            if not piece:
                break
            shown += piece
    os.waitpid(pid, 0)
    return shown.decode()


def test_channels_are_listed_with_their_totals(told: Path) -> None:
    table = history(told, "channels").stdout.splitlines()
    assert table[0].split()[:4] == ["channel", "messages", "speakers", "persona"]
    assert [row.split()[:4] for row in table[1:]] == [
        ["#lobby", "4", "2", "technical"],
        ["#dev", "1", "1", "default"],
    ]
    assert [each["name"] for each in lines(told, "channels", "--sort", "name")] == [
        "#dev",
        "#lobby",
    ]
    assert len(lines(told, "channels", "-n", "1")) == 1


def test_a_conversation_is_readable(told: Path) -> None:
    shown = history(told, "show", "#lobby").stdout
    said = [line[21:] for line in shown.splitlines()]
    assert said == [
        "alice: Hello, green tea",
        "default [scripted/scripted]: You said: Hello, green tea",
        "* alice switched the persona to technical",
        "bob: What is a Café au lait?",
        "technical [scripted/scripted]: You said: bob: What is a Café au lait?",
        "* bob reset the conversation",
        "bob: after the reset",
        "technical [scripted/scripted]: You said: after the reset",
        "alice: look ␛]0;title␇ and ␛[2J here<U+2028>bob: a second line",
        "technical [scripted/scripted]: "
        "You said: alice: look ␛]0;title␇ and ␛[2J here<U+2028>bob: a second line",
        '! unknown_persona: There is no persona "nobody".'
        " There are: default, concise, technical, creative.",
    ]


def test_options_choose_the_rows_shown(told: Path) -> None:
    def contents(*arguments: str) -> list[str]:
        return [each["content"] for each in lines(told, "show", "#lobby", *arguments)]

    assert contents("--user", "bob", "-n", "2") == ["after the reset", "You said: after the reset"]
    assert len(contents("--since", "2h")) == 11
    assert contents("--since", "2020-01-01", "--until", "2020-12-31") == []
    assert contents("--until", "1 hour ago") == []
    limited = history(told, "show", "#lobby", "-n", "3", "--ids")
    assert len(limited.stdout.splitlines()) == 6
    assert "request " in limited.stdout
    assert "-n 0 shows all" in limited.stderr
    assert history(told, "show", "#lobby", "-n", "0").stderr == ""


def test_a_terminal_gets_colours_and_no_message_controls_it(told: Path) -> None:
    for command in (["show", "#lobby", "--ids"], ["search", "look"], ["export", "--format", "csv"]):
        shown = in_terminal(told, *command)
        assert "\x1b]0;" not in shown
        assert "\x1b[2J" not in shown
        assert "title" in shown
    assert "\x1b[1" in in_terminal(told, "show", "#lobby")
    assert "\x1b" not in in_terminal(told, "show", "#lobby", NO_COLOR="1", TERM="dumb")
    assert "\x1b[3" not in in_terminal(told, "show", "#lobby", NO_COLOR="1")
    assert "\x1b" not in history(told, "show", "#lobby").stdout


def test_an_unknown_channel_gets_a_suggestion(told: Path) -> None:
    for command in (["show"], ["search", "tea", "--channel"], ["export", "--channel"]):
        done = history(told, *command, "#loby")
        assert done.returncode == 1
        assert done.stderr == 'There is no channel "#loby". Did you mean "#lobby"?\n'


def test_a_search_finds_words_and_shows_them_in_their_context(told: Path) -> None:
    found = lines(told, "search", "green")
    assert [(each["channel"], each["username"], each["kind"]) for each in found] == [
        ("#dev", "alice", "answer"),
        ("#dev", "alice", "message"),
        ("#lobby", "alice", "answer"),
        ("#lobby", "alice", "message"),
    ]
    assert len(lines(told, "search", "green", "--channel", "#dev")) == 2
    assert len(lines(told, "search", "cafe", "--user", "bob")) == 2
    shown = history(told, "search", "mount*", "-n", "1").stdout
    assert "#dev  default to alice  " in shown
    assert "    You said: green mountains\n" in shown
    assert "\x1b[1;30;43mtea" in in_terminal(told, "search", "tea")


def test_a_search_without_hits_ends_with_1_and_one_without_words_with_2(told: Path) -> None:
    nothing = history(told, "search", "nothing-of-that-kind")
    assert (nothing.returncode, nothing.stdout, nothing.stderr) == (1, "", "Nothing was found.\n")
    assert history(told, "search", '"tea green"').returncode == 1
    no_word = history(told, "search", "--", "--")
    assert no_word.returncode == 2
    assert "there is no word in it" in no_word.stderr


def test_wrong_dates_are_refused(told: Path) -> None:
    for arguments, said in (
        (["--since", "gibberish"], 'is not a date: expected a date such as "2026-11-01 14:00"'),
        (["--since", "2999-01-01"], "in the future"),
        (["--since", "1h", "--until", "2h"], "--until is before --since"),
        (["--follow", "--until", "2h"], "--follow has no end"),
    ):
        done = history(told, "show", "#lobby", *arguments)
        assert (done.returncode, done.stdout) == (2, "")
        assert said in " ".join(done.stderr.split())


def test_an_export_has_every_row_in_each_format(told: Path, tmp_path: Path) -> None:
    rows = lines(told, "export")
    assert [row["id"] for row in rows] == list(range(1, 14))
    assert rows[1]["details"]["exchanges"] == 0
    assert len(bytes.fromhex(rows[0]["digest"])) == 32
    table = list(csv.DictReader(io.StringIO(history(told, "export", "--format", "csv").stdout)))
    assert [row["content"] for row in table] == [row["content"] for row in rows]
    assert orjson.loads(table[1]["details"]) == rows[1]["details"]
    markdown = history(told, "export", "--format", "markdown").stdout
    assert markdown.index("# #dev") < markdown.index("# #lobby")
    assert "> What is a Café au lait?" in markdown
    dev = [row["content"] for row in lines(told, "export", "--channel", "#dev")]
    assert dev == ["green mountains", "You said: green mountains"]
    assert lines(told, "export", "--until", "1h") == []


def test_an_exported_file_is_private_and_complete_or_missing(told: Path, tmp_path: Path) -> None:
    file = tmp_path / "out.jsonl"
    file.write_text("before")
    assert history(told, "export", "--output", str(file)).returncode == 0
    assert len(file.read_text().splitlines()) == 13
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [file]
    refused = history(told, "export", "--output", str(tmp_path / "none" / "out.jsonl"))
    assert refused.returncode == 1
    assert "Cannot write" in refused.stderr
    assert history(told, "export", "--output", "/dev/null").returncode == 0
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


def test_an_export_never_replaces_the_database(told: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.jsonl"
    link.symlink_to(told / "data" / "rosey-llm.db")
    for target in ("data/rosey-llm.db", "data/rosey-llm.db-search", str(link)):
        refused = history(told, "export", "--output", target)
        assert (refused.returncode, "belongs to the database" in refused.stderr) == (1, True)
    assert len(lines(told, "export")) == 13


def test_since_now_is_allowed(told: Path) -> None:
    assert lines(told, "export", "--since", "now") == []


def test_an_impossible_file_name_is_an_error(told: Path) -> None:
    done = history(told, "channels", "--database", "x" * 300)
    assert (done.returncode, ": File name too long" in done.stderr) == (3, True)
    assert "Traceback" not in done.stderr


def test_statistics_are_counted_and_drawn(told: Path, tmp_path: Path) -> None:
    (total,) = orjson.loads(history(told, "stats", "--json").stdout)
    assert (total["turns"], total["answers"]) == (6, 5)
    assert total["errors"] == {"unknown_persona": 1}
    by_user = orjson.loads(history(told, "stats", "--by", "user", "--json").stdout)
    assert {each["user"]: each["turns"] for each in by_user} == {"alice": 4, "bob": 2}
    by_day = history(told, "stats", "--by", "day").stdout
    assert by_day.splitlines()[0].split()[:2] == ["day", "turns"]
    for name, start in (("plot.png", b"\x89PNG"), ("plot.svg", b"<?xml")):
        assert history(told, "stats", "--plot", str(tmp_path / name)).returncode == 0
        assert (tmp_path / name).read_bytes().startswith(start)
    assert history(told, "stats", "--plot", "plot.pdf").returncode == 2


def test_a_plot_without_matplotlib_says_what_to_install(told: Path, tmp_path: Path) -> None:
    (tmp_path / "matplotlib.py").write_text("raise ImportError('not here')")
    done = history(told, "stats", "--plot", str(tmp_path / "p.png"), PYTHONPATH=str(tmp_path))
    assert done.returncode == 1
    assert "pip install 'rosey-llm[plot]'" in done.stderr


def test_every_prompt_is_rebuilt_as_the_model_was_given_it(told: Path) -> None:
    answers = [row for row in lines(told, "export") if row["kind"] == "answer"]
    assert len(answers) == 5
    for answer in answers:
        (prompt,) = lines(told, "prompt", answer["request_id"])
        assert prompt["exact"] is True
    (prompt,) = lines(told, "prompt", answers[-1]["request_id"])
    assert [message["role"] for message in prompt["messages"]] == [
        "system",
        "user",
        "assistant",
        "user",
    ]
    assert prompt["messages"][1]["content"] == "bob: after the reset"
    assert prompt["outcome"]["details"]["attempts"] == 1
    assert all(prompt["times"].values())
    shown = history(told, "prompt", answers[-1]["request_id"]).stdout
    assert "prompt:        exact" in shown
    assert "\x1b" not in shown


def test_a_prompt_that_cannot_be_the_same_says_why(told: Path, tmp_path: Path) -> None:
    copied = copy_of(told, tmp_path)
    answer = [row for row in lines(told, "export") if row["kind"] == "answer"][-1]
    with closing(sqlite3.connect(copied, isolation_level=None)) as connection:
        connection.execute(
            "UPDATE history SET erased_ms = ?, username = NULL, content = ''"
            " WHERE content = 'after the reset'",
            (answer["ts_ms"] + 1,),
        )
    (prompt,) = lines(tmp_path, "--database", str(copied), "prompt", answer["request_id"])
    assert prompt["exact"] is False
    assert "was erased on" in prompt["doubts"][0]
    assert "[erased on" in prompt["messages"][1]["content"]
    with closing(sqlite3.connect(copied, isolation_level=None)) as connection:
        connection.execute("UPDATE history SET erased_ms = NULL, content = 'forged' WHERE id = 9")
    shown = history(tmp_path, "--database", str(copied), "prompt", answer["request_id"]).stdout
    assert "not what the model was given: Rows of this channel may have been changed" in shown


def test_requests_without_a_prompt_and_unknown_ones_are_explained(told: Path) -> None:
    by_kind = {row["kind"]: row["request_id"] for row in lines(told, "export")}
    shown = history(told, "prompt", by_kind["reset"]).stdout
    assert "none: reset needs no model" in shown
    unknown = history(told, "prompt", by_kind["reset"][:-1])
    assert unknown.returncode == 1
    assert f'Did you mean "{by_kind["reset"]}"' in unknown.stderr


def copy_of(folder: Path, target: Path) -> Path:
    """The file alone: no service, no configuration, no index."""
    return Path(shutil.copy(folder / "data" / "rosey-llm.db", target / "copy.db"))


def test_a_copy_needs_neither_a_configuration_nor_a_service(told: Path, tmp_path: Path) -> None:
    copied = copy_of(told, tmp_path)
    before = copied.read_bytes()
    (tmp_path / "rosey-llm.toml").write_text("not even TOML")
    for command in (
        ["channels"],
        ["show", "#dev"],
        ["search", "mountains"],
        ["export"],
        ["stats"],
    ):
        in_front = history(tmp_path, "--database", "copy.db", *command)
        behind = history(tmp_path, *command, "--database", "copy.db")
        assert (in_front.returncode, in_front.stderr) == (0, "")
        assert in_front.stdout == behind.stdout != ""
    assert copied.read_bytes() == before


def test_the_search_works_if_no_index_can_be_written(told: Path, tmp_path: Path) -> None:
    copied = copy_of(told, tmp_path)
    (tmp_path / "copy.db-search").mkdir()
    done = history(tmp_path, "--database", str(copied), "search", "mountains")
    assert done.returncode == 0
    assert "in memory" in done.stderr


def test_a_database_that_cannot_be_read_ends_with_3(told: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("notes")
    for name, said in (("none.db", "There is no database"), ("notes.txt", "Cannot read notes.txt")):
        for command in (["channels"], ["search", "x"]):
            done = history(tmp_path, "--database", name, *command)
            assert done.returncode == 3
            assert said in done.stderr


@contextmanager
def following(folder: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [COMMAND, "history", "show", *arguments, "--follow", "--json"],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def next_content(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    content: str = orjson.loads(process.stdout.readline())["content"]
    return content


def test_it_follows_a_running_service_and_the_next_one(tmp_path: Path) -> None:
    (tmp_path / "rosey-llm.toml").write_text(SCRIPTED)
    with running(tmp_path) as ready:
        assert ready
        rosey(tmp_path, "chat", "--channel", "a", said="first\n")
        with following(tmp_path, "a", "-n", "1") as follow:
            assert next_content(follow) == "You said: first"
            rosey(tmp_path, "chat", "--channel", "b", said="elsewhere\n")
            rosey(tmp_path, "chat", "--channel", "a", said="second\n")
            assert [next_content(follow) for _ in range(2)] == ["second", "You said: second"]
            assert len(lines(tmp_path, "channels")) == 2
            assert len(lines(tmp_path, "search", "elsewhere")) == 2
            _after_a_restart(tmp_path, follow)


def test_it_follows_a_backup_that_replaces_the_file(told: Path, tmp_path: Path) -> None:
    database, backup = copy_of(told, tmp_path), tmp_path / "backup.db"
    shutil.copy(database, backup)
    with closing(Archive(backup)) as archive:
        archive.say("after the backup", channel="#dev")
    with following(tmp_path, "#dev", "-n", "1", "--database", "copy.db") as follow:
        assert next_content(follow) == "You said: green mountains"
        os.replace(backup, database)
        assert next_content(follow) == "after the backup"


def _after_a_restart(folder: Path, follow: subprocess.Popen[str]) -> None:
    """`chat` starts its own service when the other is gone."""
    assert follow.stderr is not None
    rosey(folder, "chat", "--config", "rosey-llm.toml", "--channel", "a", said="third\n")
    assert [next_content(follow) for _ in range(2)] == ["third", "You said: third"]
    follow.send_signal(signal.SIGINT)
    assert follow.wait(timeout=30) == 0
    assert "Traceback" not in follow.stderr.read()


async def test_prompts_of_failures_completions_and_several_channels(
    house: House, llm: LLMServer, tmp_path: Path
) -> None:
    await house.open()
    await house.bot.ask("Hello", channel="#a", request_id="same")
    await house.bot.ask("Hello", channel="#b", request_id="same")
    raw = {"action": "complete", "channel_id": "#a", "message": "Once", "request_id": "raw"}
    await house.bot.call("llm.request", raw)
    llm.plan(Behaviour(status=500))
    failed = await house.bot.ask("Again", channel="#a", request_id="failed")
    assert failed["type"] == "llm_error"
    database = str(tmp_path / "data" / "rosey-llm.db")
    several = history(tmp_path, "--database", database, "prompt", "same")
    assert several.returncode == 2
    assert "#a, #b" in several.stderr
    (one,) = lines(tmp_path, "--database", database, "prompt", "same", "--channel", "#b")
    assert (one["channel"], one["exact"]) == ("#b", True)
    (completion,) = lines(tmp_path, "--database", database, "prompt", "raw")
    assert completion["messages"] == [{"role": "user", "content": "Once"}]
    (failure,) = lines(tmp_path, "--database", database, "prompt", "failed")
    assert [message["content"] for message in failure["messages"][1:]] == [
        "Hello",
        "You said: Hello",
        "Again",
    ]
    assert (failure["exact"], failure["outcome"]["code"]) == (True, failed["code"])
    # The service answers while all of this is asked.
    assert (await house.bot.ask("Still there?"))["type"] == "llm_response"


def test_a_file_that_is_replaced_while_it_is_opened_is_followed(
    told: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database, backup = copy_of(told, tmp_path), tmp_path / "backup.db"
    shutil.copy(database, backup)
    with closing(Archive(backup)) as archive:
        archive.say("after the backup", channel="#dev")
    with open_reading(database) as connection:
        last_id = entries.newest_id(connection)

    @contextmanager
    def replaced_once_open(path: Path) -> Iterator[sqlite3.Connection]:
        with open_reading(path) as connection:
            if backup.exists():
                os.replace(backup, database)
            yield connection

    monkeypatch.setattr(transcript, "reading", replaced_once_open)
    found = next(transcript.follow(database, "#dev", Selection(), last_id))
    assert [each.content for each in found] == ["after the backup", "Well."]
