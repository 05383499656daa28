"""`rosey-llm history ...` as an operator types it, on a database that a real engine wrote."""

from __future__ import annotations

import csv
import io
import stat
from dataclasses import fields, replace
from pathlib import Path

import orjson
import pytest

from engine.interfaces.reports import export
from providers.installation import install_command
from storage.queries import entries
from storage.queries.entries import HistoryEntry
from storage.queries.reader import reading
from storage.queries.selection import Selection
from tests.support.history_command import ESCAPES, copy_of, history, in_terminal, lines

pytestmark = pytest.mark.process


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
    said = [line[27:] for line in shown.splitlines()]
    assert said == [
        "alice: Hello, green tea",
        "default [scripted/scripted] to alice: You said: Hello, green tea",
        "* alice switched the persona to technical",
        "bob: What is a Café au lait?",
        "technical [scripted/scripted] to bob: You said: bob: What is a Café au lait?",
        "* bob reset the conversation",
        "bob: after the reset",
        "technical [scripted/scripted] to bob: You said: after the reset",
        "alice: look ␛]0;title␇ and ␛[2J here<U+2028>bob: a second line",
        "technical [scripted/scripted] to alice: "
        "You said: alice: look ␛]0;title␇ and ␛[2J here<U+2028>bob: a second line",
        '! unknown_persona to alice: Persona "nobody" is unknown.'
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


@pytest.mark.parametrize(
    "words", [("show",), ("export", "--channel"), ("search", "green", "--channel")]
)
def test_a_channel_that_the_shell_took_for_a_comment_gets_a_hint(
    told: Path, words: tuple[str, ...]
) -> None:
    done = history(told, *words)
    assert done.returncode == 2
    assert "A name that begins with # needs quotes: '#lobby'" in done.stderr


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
        (
            ["--since", "2026-11-02 10:00", "--until", "2026-11-01 10:00"],
            ") is before --since (2026-11-02 10:00:00",
        ),
        (
            ["--since", "2026-11-02", "--until", "2026-11-01"],
            ") is before --since (2026-11-02 00:00:00",
        ),
        (["--since", "2h", "--until", "2h"], "--since and --until are the same moment, "),
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


@pytest.mark.parametrize("said", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_a_spreadsheet_takes_no_text_of_an_exported_table_for_a_formula(
    told: Path, said: str
) -> None:
    with reading(told / "data" / "rosey-llm.db") as connection:
        row = next(entries.in_order(connection, Selection()))
    written = b"".join(export.render([replace(row, username=said, content=said)], "csv"))
    (read,) = csv.DictReader(io.StringIO(written.decode(), newline=""))
    assert (read["username"], read["content"]) == (f"'{said}", f"'{said}")


def test_an_export_has_every_character_as_it_was_said(told: Path) -> None:
    table = history(told, "export", "--format", "csv").stdout
    assert ESCAPES in [row["content"] for row in csv.DictReader(io.StringIO(table))]
    assert f"\n> {ESCAPES}\n" in history(told, "export", "--format", "markdown").stdout


def test_every_line_of_an_exported_message_is_quoted_whatever_ends_it(told: Path) -> None:
    with reading(told / "data" / "rosey-llm.db") as connection:
        first = next(iter(entries.in_order(connection, Selection())))
    entry = replace(first, content="a\r# b\r\nc\n\td\x85e")
    *_, quoted = export.render([entry], "markdown")
    assert quoted == "> a\r> # b\r\n> c\n> \td\x85e\n\n".encode()
    _, line = export.render([entry], "csv")
    position = [field.name for field in fields(HistoryEntry) if field.name != "time_ms"]
    row = next(csv.reader(io.StringIO(line.decode(), newline="")))
    assert row[1 + position.index("content")] == entry.content


def test_an_exported_file_is_private_and_complete_or_missing(told: Path, tmp_path: Path) -> None:
    file = tmp_path / "out.jsonl"
    file.write_text("before")
    refused = history(told, "export", "--output", str(file))
    assert (refused.returncode, file.read_text()) == (1, "before")
    assert refused.stderr == f"{file} exists. Use --force to replace it.\n"
    assert history(told, "export", "--output", str(file), "--force").returncode == 0
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
        refused = history(told, "export", "--output", target, "--force")
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
        file = tmp_path / name
        file.write_bytes(b"mine")
        refused = history(told, "stats", "--plot", str(file))
        assert (refused.returncode, file.read_bytes()) == (1, b"mine")
        assert refused.stderr == f"{file} exists. Use --force to replace it.\n"
        assert history(told, "stats", "--plot", str(file), "--force").returncode == 0
        assert file.read_bytes().startswith(start)
    assert history(told, "stats", "--plot", "plot.pdf").returncode == 2


def test_a_plot_without_matplotlib_says_what_to_install(told: Path, tmp_path: Path) -> None:
    (tmp_path / "matplotlib.py").write_text("raise ImportError('not here')")
    done = history(told, "stats", "--plot", str(tmp_path / "p.png"), PYTHONPATH=str(tmp_path))
    assert done.returncode == 1
    assert f"needs matplotlib: {install_command('plot')}" in done.stderr


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
