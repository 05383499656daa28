"""A short run of `make bot-soak`, and that it finds what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bots.soak import soak
from tests.bots.transcript import Transcript, answer_to


@pytest.mark.real
@pytest.mark.process
@pytest.mark.timeout(600)
async def test_people_get_every_answer_once_while_the_engine_is_killed(tmp_path: Path) -> None:
    transcript = await soak(tmp_path, seconds=45, kills=3, people=8, channels=3)
    assert transcript.is_good, "\n".join(transcript.report())
    assert sum(map(len, transcript.asked.values())) >= 16


ASKED = [("p1", "#a", "!chat q1-1 please"), ("p2", "#a", "!chat q2-2 please")]
SAID = [("rosey", "#a", f"p{n}: {answer_to(f'q{n}-{n}')}") for n in (1, 2)]


def test_a_transcript_shows_every_fault() -> None:
    assert Transcript([*ASKED, *SAID]).is_good
    long = SAID[1][2].split(" w0100 ")
    parts = [("rosey", "#a", long[0]), ("rosey", "#a", f"w0100 {long[1]}")]
    assert Transcript([*ASKED, SAID[0], *parts]).is_good
    faults = {
        "not answered": [*ASKED, SAID[0]],
        "answered twice": [*ASKED, *SAID, SAID[1]],
        "not in order": [*ASKED, SAID[1], SAID[0]],
        "cut": [*ASKED, SAID[0], parts[0]],
        "no answer": [*ASKED, SAID[0], ("rosey", "#a", "p2: No answer within 600 s.")],
    }
    for fault, heard in faults.items():
        assert any(fault in line for line in Transcript(heard).faults()), fault
