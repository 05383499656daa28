"""What was measured, for readers: the picture, and the results in the page about performance."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tests.bench import goals
from tests.bench.drawing import draw
from tests.bench.record import Record
from tests.bench.sections import NAMES

PICTURE = Path("docs/bench.svg")
PAGE = Path("docs/performance.md")
BEGIN, END = "<!-- results: written by make bench -->", "<!-- end of the results -->"


def publish(kept: Record) -> None:
    """Write both anew. Raises ValueError where the page has no place for the results."""
    draw(PICTURE, kept)
    PAGE.write_text(filled(PAGE.read_text(), kept))
    print(f"Drawn as {PICTURE}, told in {PAGE}.")


def filled(page: str, kept: Record) -> str:
    """The page with these results in place of those before."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{PAGE} lacks the line {BEGIN} or {END}")
    return f"{before}{begin}\n\n{chr(10).join(_results(kept))}\n\n{end}{after}"


def _results(kept: Record) -> Iterator[str]:
    yield "| what | goal | measured, median [quartiles] | |"
    yield "|---|---|---|---|"
    for each in goals.verdicts(kept.results):
        word = "met" if each.is_met else "**missed**"
        yield f"| {each.goal.name} | {each.wanted} | {each.measured} | {word} |"
    yield "\n```text"
    yield from (f"{name:12} {fact}" for name, fact in kept.machine.items())
    yield "```"
    for section in (name for name in NAMES if name in kept.tables):
        yield f"\n### {section}\n\nMeasured {kept.sections[section]['measured']}.\n\n```text"
        yield from kept.tables[section]
        yield "```"
