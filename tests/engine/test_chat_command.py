"""`rosey-llm chat` in a terminal: keys, pastes, what is shown, how it ends."""

from __future__ import annotations

import os
import re
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from engine.interfaces.terminal import greeting
from engine.interfaces.terminal.typed_lines import KEPT, TypedLines
from tests.support.chat_terminal import CTRL_C, CTRL_D, ENTER, READY, TAB, UP, chatting
from tests.support.command_line import COMMAND, SCRIPTED, rosey

pytestmark = pytest.mark.process
ROOT = Path(__file__).parents[2]
ERASE = "\x1b[K"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "rosey-llm.toml").write_text(SCRIPTED)
    return tmp_path


def scripted(folder: Path, *settings: str) -> None:
    lines = "\n".join(settings)
    (folder / "rosey-llm.toml").write_text(f"{SCRIPTED}[providers.scripted]\n{lines}\n")


@pytest.mark.parametrize("terminal", ["xterm", "dumb"])
def test_ctrl_c_at_the_prompt_clears_the_line(folder: Path, terminal: str) -> None:
    with chatting(folder, TERM=terminal) as chat:
        chat.press("delete everything ")
        chat.wait_for("delete everything")
        chat.press(CTRL_C)
        chat.wait_for(READY)
        chat.press("hello" + ENTER)
        assert "Rosey: You said: hello\n" in chat.wait_for("said: hello\n")


def test_ctrl_c_stops_the_answer_and_the_conversation_goes_on(folder: Path) -> None:
    scripted(folder, f'reply = "{"word " * 10_000}"', "chunk_delay = 0.05")
    with chatting(folder) as chat:
        chat.press("hello" + ENTER)
        chat.wait_for("Rosey: word")
        chat.press(CTRL_C)
        chat.wait_for("[stopped]\n" + READY)
        chat.press(CTRL_C)
        chat.wait_for("(Ctrl-D leaves)\n" + READY)
        chat.press(CTRL_D)
        assert chat.ended() == 0


def test_a_second_ctrl_c_does_not_wait_for_a_service_that_stands_still(folder: Path) -> None:
    with subprocess.Popen(
        [COMMAND, "run"], cwd=folder, stdout=subprocess.PIPE, text=True
    ) as service:
        try:
            assert service.stdout is not None
            assert service.stdout.readline()
            with chatting(folder) as chat:
                service.send_signal(signal.SIGSTOP)
                chat.press("hello" + ENTER)
                chat.wait_for("Rosey is thinking ...")
                chat.press_until(CTRL_C, "[stopped]\n" + READY)
        finally:
            service.kill()


def test_help_also_explains_the_keys_of_the_terminal(folder: Path) -> None:
    with chatting(folder) as chat:
        chat.press("help" + ENTER)
        chat.wait_for("Rosey: Help: !chat TEXT")
        chat.wait_for(READY)
        assert greeting.KEYS in chat.words
    with chatting(folder, TERM="dumb") as chat:
        chat.press("help" + ENTER)
        chat.wait_for("Rosey: Help: !chat TEXT")
        chat.wait_for(READY)
        assert "Tab" not in chat.words


def test_a_paste_of_several_lines_is_one_message(folder: Path) -> None:
    with chatting(folder) as chat:
        chat.press("\x1b[200~one\r\ntwo\rthree\x1b[201~")
        chat.wait_for("three")
        chat.press(ENTER)
        chat.wait_for("Rosey: You said: one\ntwo\nthree\n" + READY)


def test_alt_enter_begins_a_new_line(folder: Path) -> None:
    with chatting(folder) as chat:
        chat.press("one\x1b\rtwo" + ENTER)
        chat.wait_for("Rosey: You said: one\ntwo\n" + READY)


def test_what_is_typed_while_an_answer_is_written_is_kept_for_the_next_prompts(
    folder: Path,
) -> None:
    scripted(folder, 'reply = "a b c d e {message}."', "chunk_delay = 0.1")
    with chatting(folder) as chat:
        chat.press("one" + ENTER)
        chat.wait_for("Rosey: a")
        chat.press("two" + ENTER + "\x1b[200~x\ry\x1b[201~")
        answers = chat.wait_for("e two.\n" + READY)
        assert answers.startswith(" b c d e one.\n")
        chat.wait_for("y")
        chat.press("z" + ENTER)
        chat.wait_for("e x\nyz.\n")


def test_tab_completes_commands_and_personas(folder: Path) -> None:
    with chatting(folder) as chat:
        chat.press("res" + TAB + ENTER)
        chat.wait_for("Rosey: Conversation reset: ")
        chat.press("!chat persona con" + TAB + ENTER)
        chat.wait_for("Persona: concise from now on.")
        chat.press("persona " + TAB)
        listed = chat.wait_for("persona creative")
        for name in ("default", "concise", "technical"):
            assert f"persona {name}" in listed


@pytest.mark.parametrize("word", ["exit", "quit", " Exit "])
def test_exit_and_quit_leave(folder: Path, word: str) -> None:
    with chatting(folder) as chat:
        chat.press(word + ENTER)
        assert chat.ended() == 0
        assert "You said" not in chat.shown


def test_earlier_lines_come_back_in_the_next_chat_and_only_their_owner_can_read_them(
    folder: Path,
) -> None:
    with chatting(folder) as chat:
        chat.press("my secret" + ENTER)
        chat.wait_for("said: my secret\n" + READY)
        chat.press(CTRL_D)
        assert chat.ended() == 0
    file = folder / "state" / "rosey-llm" / "chat-history"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    with chatting(folder) as chat:
        chat.press("Q")
        chat.wait_for("Q")  # by now the earlier lines are read
        chat.press(UP + " again" + ENTER)
        chat.wait_for("said: my secret again\n")


def test_a_chat_without_a_place_for_its_lines_works(folder: Path) -> None:
    (folder / "state").write_text("")
    with chatting(folder) as chat:
        chat.press("hello" + ENTER)
        chat.wait_for("said: hello\n" + READY)
        chat.press("Q")
        chat.wait_for("Q")
        chat.press(UP + ENTER)
        chat.wait_for("said: hello\n" + READY)


def test_a_sign_is_shown_until_the_first_word_and_a_log_line_does_not_meet_it(
    folder: Path,
) -> None:
    config = SCRIPTED.replace('"scripted"', '"ollama"').replace("[]", '["scripted"]')
    (folder / "rosey-llm.toml").write_text(
        f'{config}[providers.ollama]\nbase_url = "http://127.0.0.1:9"\nmax_retries = 0\n'
    )
    with chatting(folder) as chat:
        chat.press("hello" + ENTER)
        chat.wait_for("said: hello\n")
        answer = chat.raw[chat.raw.index("Rosey is thinking ...") :]
        assert f"\r{ERASE}Provider ollama is not available" in answer
        assert f"Rosey is thinking ...\r{ERASE}Rosey: You said" in answer


def test_words_are_kept_whole_at_the_edge_of_the_terminal(folder: Path) -> None:
    scripted(folder, 'reply = "The quick brown fox jumps over 10\\u202f000\\u202fkm. 漢字の文章。"')
    with chatting(folder, columns=30) as chat:
        chat.press("hello" + ENTER)
        chat.wait_for(
            "Rosey: The quick brown fox\njumps over 10\u202f000\u202fkm. 漢字の文\n章。\n"
        )


def test_only_what_acts_on_the_terminal_is_left_out_of_an_answer(folder: Path) -> None:
    scripted(folder, 'reply = "10\\u202f000\\u00a0km \\u001b[2J\\u202eA\\u200dB\\u200cC\\u3000D."')
    with chatting(folder) as chat:
        chat.press("hello" + ENTER)
        chat.wait_for("Rosey: 10\u202f000\xa0km [2JA\u200dB\u200cC\u3000D.\n")


def test_a_dumb_terminal_gets_no_sequences(folder: Path) -> None:
    with chatting(folder, TERM="dumb") as chat:
        chat.press("hello" + ENTER)
        chat.wait_for("Rosey: You said: hello\n")
        chat.press("exit" + ENTER)
        assert chat.ended() == 0
        assert "\x1b" not in chat.raw


def test_no_color_means_no_colours(folder: Path) -> None:
    with chatting(folder, NO_COLOR="1") as chat:
        chat.press("hello" + ENTER)
        chat.wait_for("Rosey: You said: hello\n" + READY)
        assert set(re.findall(r"\x1b\[([\d;]*)m", chat.raw)) <= {"", "0"}


def test_a_conversation_says_that_it_goes_on_and_new_begins_again(folder: Path) -> None:
    with chatting(folder) as chat:
        assert "goes on" not in chat.shown
        chat.press("hello" + ENTER)
        chat.wait_for("said: hello\n" + READY)
        chat.press(CTRL_D)
        assert chat.ended() == 0
        assert chat.words.endswith(" rosey-llm audit --open")
    with chatting(folder) as chat:
        assert 'goes on with the last 2 messages of the channel "terminal"' in chat.words
    with chatting(folder, "--new") as chat:
        assert "goes on" not in chat.shown
        assert "2 messages cleared" in chat.shown


def test_the_last_line_names_the_configuration_of_the_chat(folder: Path) -> None:
    (folder / "rosey-llm.toml").rename(folder / "my bot.toml")
    with chatting(folder, "--config", "my bot.toml") as chat:
        chat.press("exit" + ENTER)
        assert chat.ended() == 0
        assert chat.words.endswith(" rosey-llm audit --config 'my bot.toml' --open")


def test_the_last_line_names_the_place_of_a_program_that_is_not_on_the_path(folder: Path) -> None:
    with chatting(folder, PATH="/usr/bin:/bin") as chat:
        chat.press("exit" + ENTER)
        assert chat.ended() == 0
        assert f" {os.path.relpath(COMMAND, folder)} audit --open" in chat.words


def test_a_person_who_was_shown_an_error_leaves_with_0(folder: Path) -> None:
    with chatting(folder) as chat:
        chat.press("persona pirate" + ENTER)
        chat.wait_for('Error: Persona "pirate" is unknown.')
        chat.wait_for(READY)
        chat.press(CTRL_D)
        assert chat.ended() == 0


def test_the_embedded_model_is_called_a_toy_and_the_ways_to_a_real_one_are_named(
    folder: Path,
) -> None:
    toy = SCRIPTED.replace('"scripted"', '"ollama"').replace("[]", '["local"]')
    (folder / "rosey-llm.toml").write_text(
        f'{toy}[providers.ollama]\nbase_url = "http://127.0.0.1:9"\n'
    )
    with chatting(folder) as chat:
        assert "a toy of 135 million parameters" in chat.words
        assert "`ollama pull llama3.2`" in chat.words
        assert 'OPENAI_API_KEY, and default_provider = "openai" in rosey-llm.toml' in chat.words
    for other in (SCRIPTED.replace("[]", '["local"]'), f'{toy}[providers.local]\nmodel_path = "x"'):
        (folder / "rosey-llm.toml").write_text(other)
        with chatting(folder) as chat:
            assert "toy" not in chat.shown


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGQUIT, signal.SIGINT])
def test_the_terminal_is_given_back_as_it_was(folder: Path, number: signal.Signals) -> None:
    scripted(folder, f'reply = "{"word " * 10_000}"', "chunk_delay = 0.05")
    with chatting(folder) as chat:
        chat.press("hello" + ENTER)
        chat.wait_for("Rosey: word")
        assert chat.modes_now() != chat.modes
        chat.process.send_signal(number)
        if number == signal.SIGINT:
            chat.wait_for(READY)
            chat.press(CTRL_D)
        assert chat.ended() == (0 if number == signal.SIGINT else -number)
        assert chat.modes_now() == chat.modes


def test_a_text_is_asked_once(folder: Path) -> None:
    done = rosey(folder, "chat", "What", "is Python?", said="not read\n")
    assert (done.returncode, done.stdout, done.stderr) == (0, "You said: What is Python?\n", "")


def test_the_whole_input_is_one_question_after_the_text(folder: Path) -> None:
    said = "  def f():\n    pass\n\n"
    assert rosey(folder, "chat", "--whole", said=said).stdout == f"You said: {said.rstrip()}\n"
    done = rosey(folder, "chat", "--whole", "Explain this:", said=said)
    assert done.stdout == "You said: Explain this:\n\n  def f():\n    pass\n"


@pytest.mark.parametrize("arguments", [["reset"], ["--whole"], ["exit"]])
def test_a_single_question_is_never_a_command(folder: Path, arguments: list[str]) -> None:
    done = rosey(folder, "chat", *arguments, said="help\n")
    assert done.stdout == f"You said: {'help' if '--whole' in arguments else arguments[0]}\n"


@pytest.mark.parametrize("word", ["exit", " Quit "])
def test_exit_and_quit_end_the_lines_of_a_pipe(folder: Path, word: str) -> None:
    done = rosey(folder, "chat", said=f"one\n{word}\ntwo\n")
    assert (done.returncode, done.stdout) == (0, "You said: one\n")


@pytest.mark.parametrize("arguments", [["--whole"], ["--whole", "--new"]])
def test_no_question_is_an_error(folder: Path, arguments: list[str]) -> None:
    done = rosey(folder, "chat", *arguments, said=" \n")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "Error: There is no question: the input is empty.\n"
    assert rosey(folder, "chat", " ").returncode == 2


def test_a_question_or_a_line_that_gets_an_error_ends_with_1(folder: Path) -> None:
    scripted(folder, 'fail = "provider_auth"')
    for done in (rosey(folder, "chat", "Hello"), rosey(folder, "chat", said="Hello\n")):
        assert (done.returncode, done.stdout) == (1, "")
        assert "\nError: " in done.stderr
        assert "turn.failed" not in done.stderr  # the error is shown once


def test_a_pipe_and_a_text_begin_afresh_unless_they_name_a_channel(folder: Path) -> None:
    rosey(folder, "chat", "--channel", "a", said="persona technical\nHello\n")
    rosey(folder, "chat", "Hello")
    assert "Persona: default." in rosey(folder, "chat", said="persona\n").stdout
    names = rosey(folder, "history", "channels", "--sort", "name").stdout
    assert names.count("\nterminal-") == 2
    assert "\nterminal " not in names
    assert "2 messages" in rosey(folder, "chat", "--channel", "a", said="reset\n").stdout


def test_new_begins_the_conversation_of_a_named_channel_again(folder: Path) -> None:
    rosey(folder, "chat", "--channel", "a", "Hello")
    assert rosey(folder, "chat", "--channel", "a", "--new", "Hi").stdout == "You said: Hi\n"
    assert "2 messages" in rosey(folder, "chat", "--channel", "a", said="reset\n").stdout


@pytest.mark.parametrize("document", ["README.md", "docs/operating.md"])
def test_the_documents_show_the_greeting(document: str) -> None:
    assert f"\n{greeting.WELCOME}\nalice> " in (ROOT / document).read_text()


def test_only_the_newest_lines_are_kept(tmp_path: Path) -> None:
    lines = TypedLines(tmp_path / "state" / "lines")
    for number in range(KEPT + 3):
        lines.store_string(f"line {number}\nof two")
    newest = [f"line {number}\nof two" for number in range(KEPT + 2, 2, -1)]
    assert list(TypedLines(tmp_path / "state" / "lines").load_history_strings()) == newest
    assert (tmp_path / "state" / "lines").read_text().count("+of two") == KEPT


def test_no_other_command_imports_the_editor() -> None:
    code = "import engine.cli, sys; sys.exit('prompt_toolkit' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
