"""What was measured, for readers: the picture, and the results in the page about performance."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.bench import goals
from tests.bench.drawing import draw
from tests.bench.record import Record
from tests.bench.sections import NAMES

PICTURE = Path("docs/bench.svg")
PAGE = Path("docs/performance.md")
BEGIN, END = "<!-- results: written by make bench -->", "<!-- end of the results -->"


class NotPublished(Exception):
    """What was measured, or the page, lacks something."""


def publish(kept: Record) -> None:
    """Write both anew. Raises NotPublished, and has written nothing then."""
    if missing := [name for name in NAMES if name not in kept.sections]:
        raise NotPublished(f"{kept.path} lacks {', '.join(missing)}; measure them first.")
    page = filled(PAGE.read_text(), kept)
    draw(PICTURE, kept)
    PAGE.write_text(page)
    print(f"Drawn as {PICTURE}, told in {PAGE}.")


def filled(page: str, kept: Record) -> str:
    """The page with these results in place of those before."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise NotPublished(f"{PAGE} lacks the line {BEGIN} or {END}")
    return f"{before}{begin}\n\n{chr(10).join(_results(kept))}\n\n{end}{after}"


def _results(kept: Record) -> Iterator[str]:
    yield "| what | goal | measured, median [quartiles] | |"
    yield "|---|---|---|---|"
    for each in goals.verdicts(kept.results):
        word = "met" if each.is_met else "**missed**"
        yield f"| {each.name} | {each.wanted} | {each.measured} | {word} |"
    for facts, names in _runs(kept):
        yield "\n```text"
        yield from (f"{name:12} {fact}" for name, fact in facts.items())
        yield f"{'measured':12} {', '.join(names)}"
        yield f"{'took':12} {sum(kept.sections[name]['took_s'] for name in names) / 60:.1f} minutes"
        yield "```"
    for section in (name for name in NAMES if name in kept.tables):
        yield f"\n### {section}\n\n{_how(kept.sections[section])}\n\n```text"
        yield from kept.tables[section]
        yield "```"


def _runs(kept: Record) -> Iterator[tuple[dict[str, str], list[str]]]:
    """The facts of each run that results are left of, and which sections they are."""
    left = [name for name in NAMES if name in kept.sections]
    while left:
        facts = kept.sections[left[0]]["facts"]
        names = [name for name in left if kept.sections[name]["facts"] == facts]
        yield facts, names
        left = [name for name in left if name not in names]


def _how(section: dict[str, Any]) -> str:
    options = "".join(f" --{name}" for name in ("quick", "full") if section["plan"][name])
    with_options = f", with `{options.strip()}`" if options else ""
    return f"Measured {section['measured']}, in {section['took_s']:.0f} s{with_options}."
