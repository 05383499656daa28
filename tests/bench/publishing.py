"""Publishing of the results: docs/bench.svg and the results part of docs/performance.md."""

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
    """Results are missing, or the page has no place for them."""


def publish(kept: Record) -> None:
    """Write picture and page. Raise NotPublished before writing anything."""
    if missing := [name for name in NAMES if name not in kept.sections]:
        raise NotPublished(
            f"Cannot publish {kept.path}: it has no results of {', '.join(missing)}. "
            "Measure them first."
        )
    page = with_results(PAGE.read_text(), kept)
    draw(PICTURE, kept)
    PAGE.write_text(page)
    print(f"Written: {PICTURE} and the results in {PAGE}.")


def with_results(page: str, kept: Record) -> str:
    """Return the page with these results instead of the old ones. Raise NotPublished."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise NotPublished(f"Cannot publish: {PAGE} lacks the line {BEGIN} or {END}. Restore it.")
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
        yield f"\n### {section}\n\n{_measurement_note(kept.sections[section])}\n\n```text"
        yield from kept.tables[section]
        yield "```"


def _runs(kept: Record) -> Iterator[tuple[dict[str, str], list[str]]]:
    """Yield the facts of each run that has results here, with the names of its sections."""
    left = [name for name in NAMES if name in kept.sections]
    while left:
        facts = kept.sections[left[0]]["facts"]
        names = [name for name in left if kept.sections[name]["facts"] == facts]
        yield facts, names
        left = [name for name in left if name not in names]


def _measurement_note(section: dict[str, Any]) -> str:
    options = "".join(f" --{name}" for name in ("quick", "full") if section["plan"][name])
    with_options = f", with `{options.strip()}`" if options else ""
    return f"Measured {section['measured']}, in {section['took_s']:.0f} s{with_options}."
