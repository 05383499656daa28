"""Draws pictures of a terminal as one animated SVG, without scripts, as GitHub shows it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from xml.sax.saxutils import escape

from tests.recording.terminal import COLUMNS, LINES, Picture, Run, Style

WIDE, HIGH = 8.4, 18  # a letter's cell
MARGIN, BAR = 14, 34
COLOURS = {
    "default": "#c9d1d9",
    "foreground": "#c9d1d9",
    "background": "#0d1117",
    "dim": "#8b949e",
    "black": "#484f58",
    "red": "#ff7b72",
    "green": "#3fb950",
    "brown": "#d29922",
    "yellow": "#d29922",
    "blue": "#58a6ff",
    "magenta": "#bc8cff",
    "cyan": "#39c5cf",
    "white": "#ffffff",
}
FONT = "ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono','Liberation Mono',monospace"
BUTTONS = ((20, "#ff5f57"), (40, "#febc2e"), (60, "#28c840"))
LINES_AND_CORNERS = "─│╭╮╰╯"
Times = tuple[tuple[float, float], ...]


def draw(pictures: Sequence[Picture], lasts_s: float, title: str) -> str:
    """Return the SVG; the animation begins again after `lasts_s`.

    A program that does not animate it shows the last picture.
    """
    together: dict[Times, list[Run]] = defaultdict(list)
    for run, times in _times(pictures, lasts_s).items():
        together[times].append(run)
    width, height = COLUMNS * WIDE + 2 * MARGIN, LINES * HIGH + BAR + MARGIN
    styles, groups = [], []
    for number, (times, runs) in enumerate(sorted(together.items())):
        if times == ((0.0, lasts_s),):
            groups.append(f"<g>{_runs(runs)}</g>")
            continue
        steps = "".join(
            f"{100 * start / lasts_s:.2f}%{{visibility:visible}}"
            + ("" if end >= lasts_s else f"{100 * end / lasts_s:.2f}%{{visibility:hidden}}")
            for start, end in times
        )
        first = "" if times[0][0] == 0 else "0%{visibility:hidden}"
        styles.append(
            f"@keyframes k{number}{{{first}{steps}}}#g{number}{{animation-name:k{number}}}"
        )
        hidden = "" if times[-1][1] >= lasts_s else ' visibility="hidden"'
        groups.append(f'<g id="g{number}" class="a"{hidden}>{_runs(runs)}</g>')
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}"'
            f' width="{width:g}" height="{height:g}" role="img">',
            f"<title>{escape(title)}</title>",
            "<style>",
            f"text{{font:14px {FONT};white-space:pre}}",
            ".b{font-weight:bold}",
            "path{fill:none;stroke-width:1.2}",
            f".a{{animation:{lasts_s:.2f}s step-end infinite}}",
            "@media (prefers-reduced-motion:reduce){.a{animation:none}}",
            *styles,
            "</style>",
            f'<rect x=".5" y=".5" width="{width - 1:g}" height="{height - 1:g}" rx="10"'
            f' fill="{COLOURS["background"]}" stroke="#30363d"/>',
            *(f'<circle cx="{x}" cy="17" r="6" fill="{fill}"/>' for x, fill in BUTTONS),
            *groups,
            "</svg>\n",
        ]
    )


def _times(pictures: Sequence[Picture], lasts_s: float) -> dict[Run, Times]:
    """Return when each run is shown."""
    times: dict[Run, list[tuple[float, float]]] = defaultdict(list)
    ends = [*(picture.at_s for picture in pictures[1:]), lasts_s]
    for picture, end in zip(pictures, ends, strict=True):
        for run in picture.runs:
            shown = times[run]
            if shown and shown[-1][1] == picture.at_s:
                shown[-1] = (shown[-1][0], end)
            else:
                shown.append((picture.at_s, end))
    return {run: tuple(shown) for run, shown in times.items()}


def _runs(runs: Sequence[Run]) -> str:
    """Draw runs that are shown at the same times, those of a style together."""
    by_style: dict[Style, list[Run]] = defaultdict(list)
    for run in sorted(runs, key=lambda run: (run.line, run.column)):
        by_style[run.style].append(run)
    return "".join(_of_style(style, found) for style, found in sorted(by_style.items()))


def _of_style(style: Style, runs: Sequence[Run]) -> str:
    drawn, path, spans = "", "", ""
    for run in runs:
        x, y = MARGIN + run.column * WIDE, BAR + run.line * HIGH
        length = len(run.text) * WIDE
        if style.bg != "default":
            fill = COLOURS[style.bg]
            drawn += f'<rect x="{x:g}" y="{y}" width="{length:g}" height="{HIGH}" fill="{fill}"/>'
        if set(run.text) <= set(LINES_AND_CORNERS):
            path += "".join(_line(each, x + WIDE * i, y) for i, each in enumerate(run.text))
        else:
            place = f'x="{x:g}" y="{y + 13.5:g}" textLength="{length:g}"'
            spans += f"<tspan {place}>{escape(run.text)}</tspan>"
    colour = COLOURS[style.fg.removeprefix("bright")]
    if path:
        drawn += f'<path stroke="{colour}" d="{path}"/>'
    if spans:
        bold = ' class="b"' if style.bold else ""
        drawn += f'<text fill="{colour}"{bold}>{spans}</text>'
    return drawn


def _line(letter: str, x: float, y: float) -> str:
    """Draw a line or a corner: fonts leave gaps between them."""
    half, middle = WIDE / 2, HIGH / 2
    match letter:
        case "─":
            return f"M{x:g} {y + middle:g}h{WIDE}"
        case "│":
            return f"M{x + half:g} {y}v{HIGH}"
    across = half if letter in "╭╰" else -half
    down = middle if letter in "╭╮" else -middle
    return f"M{x + half:g} {y + middle + down:g}q0 {-down:g} {across:g} {-down:g}"
