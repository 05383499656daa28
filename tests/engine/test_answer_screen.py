"""Answers in a pipe: what is written when one ends, or is broken off."""

from __future__ import annotations

import pytest

from engine.interfaces.terminal.answer_screen import AnswerScreen


@pytest.mark.parametrize("ends", [True, False])
def test_an_answer_ends_its_line_once_also_if_ctrl_c_comes_just_after_its_end(
    capsys: pytest.CaptureFixture[str], ends: bool
) -> None:
    screen = AnswerScreen("", "...")
    screen.begin()
    screen.append("Hello")
    if ends:
        screen.end()
    screen.break_off()
    screen.begin()
    screen.break_off()
    assert capsys.readouterr().out == "Hello\n"
