"""The recording of the demo in the README: what makes it, and that it shows the present demo."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from engine.interfaces.demo import script
from tests.recording import svg, terminal

FILE = Path(__file__).parents[1] / "docs" / "images" / "demo.svg"
SPAN = "{http://www.w3.org/2000/svg}tspan"
PROGRAM = """
print("\\x1b[?1049h\\x1b[1;32m│hello & you\\x1b[0m", flush=True)
print("\\x1b[?1049l\\x1b[31mgone\\x1b[0m \\x1b[7mswapped\\x1b[0m", flush=True)
input("Enter ends it")
"""


def texts(drawing: str) -> list[str]:
    return [span.text or "" for span in ElementTree.fromstring(drawing).iter(SPAN)]  # noqa: S314


def test_the_recording_of_the_readme_shows_the_present_demo() -> None:
    drawing = FILE.read_text()
    assert len(drawing) < 300_000
    assert "<script" not in drawing
    words = set(" ".join(texts(drawing)).split())
    for exchange in script.ALL:
        assert set(f"{exchange.question} {exchange.answer}".split()) <= words, "make recording"
    assert f"alice: {script.CUT.question}" in texts(drawing)
    assert {"✓", "history", "exact:", "verified:", "none"} <= words
    assert ".venv/bin/rosey-llm" in words, "what comes next must be a command that can be typed"


@pytest.mark.process
def test_a_terminal_is_drawn_as_a_moving_picture_that_ends_with_its_last_page() -> None:
    pictures = terminal.record([sys.executable, "-c", PROGRAM], "make demo", "Enter ends")
    drawing = svg.draw(pictures, pictures[-1].at_s + 5, "A title")
    assert texts(drawing)[:1] == ["$ make demo"]
    (gone,) = re.findall(r'<g id="\w+" class="a">.*?gone.*?</g>', drawing)
    assert f'<text fill="{svg.COLOURS["red"]}"><tspan' in gone
    assert f'<rect x="{svg.MARGIN + 5 * svg.WIDE:g}"' in gone
    assert "Enter ends it" in drawing
    hidden = re.findall(r'<g id="\w+" class="a" visibility="hidden">.*?</g>', drawing)
    assert any("make demo" in each for each in hidden)
