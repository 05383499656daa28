"""The table of sentences in docs/texts.md: `python -m tests.texts_page` writes it again."""

from __future__ import annotations

from pathlib import Path

from engine.texts.sentence import Sentence
from engine.texts.table import TABLE

PAGE = Path(__file__).parents[1] / "docs" / "texts.md"
BEGIN = "<!-- the table: written by python -m tests.texts_page -->"
END = "<!-- end of the table -->"


def table() -> str:
    """Return the table as Markdown."""
    head = ["| key | said when | in English (what may be left out, or added) |", "|---|---|---|"]
    return "\n".join([*head, *(_line(sentence) for sentence in TABLE.values())])


def _line(sentence: Sentence) -> str:
    ticks = "``" if "`" in sentence.english else "`"
    english = f"{ticks}{sentence.english}{ticks}"
    if sentence.may:
        english += " (" + ", ".join(f"`{{{name}}}`" for name in sentence.may) + ")"
    return f"| `{sentence.key}` | {sentence.when} | {english} |"


def main() -> None:
    before, rest = PAGE.read_text().split(BEGIN)
    _, after = rest.split(END)
    PAGE.write_text(f"{before}{BEGIN}\n\n{table()}\n\n{END}{after}")


if __name__ == "__main__":
    main()
