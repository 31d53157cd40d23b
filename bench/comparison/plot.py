"""A bar plot as SVG: small enough to read in a diff, the same bytes for the same figures."""

from __future__ import annotations

import html

BAR_HEIGHT = 16
ROW_HEIGHT = 24
LABEL_WIDTH = 170
BARS_WIDTH = 420
FIGURE_WIDTH = 80
COLOURS = ("#3b6ea5", "#a9c4de")


def stacked_bars(title: str, parts: tuple[str, str],
                 rows: list[tuple[str, float, float]]) -> str:
    """rows: label and the two parts' values, all in one unit that the title names."""
    top = 52
    width = LABEL_WIDTH + BARS_WIDTH + FIGURE_WIDTH
    height = top + ROW_HEIGHT * len(rows) + 8
    scale = BARS_WIDTH / max(a + b for _, a, b in rows)
    text = 'font-family="sans-serif" font-size="12"'
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
           f'viewBox="0 0 {width} {height}">',
           f'<rect width="{width}" height="{height}" fill="white"/>',
           f'<text x="8" y="18" {text} font-weight="bold">{html.escape(title)}</text>']
    for i, part in enumerate(parts):
        x = LABEL_WIDTH + 110 * i
        out.append(f'<rect x="{x}" y="28" width="12" height="12" fill="{COLOURS[i]}"/>')
        out.append(f'<text x="{x + 17}" y="38" {text}>{html.escape(part)}</text>')
    for i, (label, first, second) in enumerate(rows):
        y = top + ROW_HEIGHT * i
        baseline = y + BAR_HEIGHT - 4
        out.append(f'<text x="{LABEL_WIDTH - 8}" y="{baseline}" {text} text-anchor="end">'
                   f"{html.escape(label)}</text>")
        x = float(LABEL_WIDTH)
        for value, colour in zip((first, second), COLOURS):
            out.append(f'<rect x="{x:.1f}" y="{y}" width="{value * scale:.1f}" '
                       f'height="{BAR_HEIGHT}" fill="{colour}"/>')
            x += value * scale
        out.append(f'<text x="{x + 6:.1f}" y="{baseline}" {text}>{first + second:.1f}</text>')
    return "\n".join([*out, "</svg>"]) + "\n"
