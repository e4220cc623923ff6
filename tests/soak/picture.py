"""The soak as an SVG: one strip per quantity over the same time, quiet points and policy updates marked."""

import math
from html import escape

WIDTH, LEFT, RIGHT, HEIGHT, GAP, TOP = 1000, 90, 20, 120, 34, 60
COLOURS = ("#1b6ca8", "#d1495b", "#66a182", "#8d6a9f")


def draw(title, panels, marks, span):
    """`panels`: (name, unit, {series: [(seconds, value)]}); `marks`: (seconds, text)."""
    height = TOP + len(panels) * (HEIGHT + GAP) + 30
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
             f'font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="white"/>',
             f'<text x="{LEFT}" y="24" font-size="16">{escape(title)}</text>']
    for at, panel in enumerate(panels):
        parts += _panel(panel, TOP + at * (HEIGHT + GAP), marks, span)
    parts += _times(TOP + len(panels) * (HEIGHT + GAP), span)
    return "\n".join([*parts, "</svg>"])


def _panel(panel, top, marks, span):
    name, unit, series = panel
    values = [value for points in series.values() for _, value in points if value is not None]
    low, high = _range(values)
    across = lambda seconds: LEFT + seconds / span * (WIDTH - LEFT - RIGHT)
    # Where the largest would flatten all others, the height is the logarithm's.
    bend = math.log if low > 0 and high > 30 * low else lambda value: value
    share = lambda value: (bend(value) - bend(low)) / (bend(high) - bend(low))
    down = lambda value: top + HEIGHT * (1 - share(value))
    middle = (low * high) ** 0.5 if bend is math.log else (low + high) / 2
    yield f'<rect x="{LEFT}" y="{top}" width="{WIDTH - LEFT - RIGHT}" height="{HEIGHT}" fill="#f7f7f7" stroke="#ccc"/>'
    for seconds, colour in marks:
        yield f'<path d="M{across(seconds):.1f} {top}V{top + HEIGHT}" stroke="{colour}" stroke-width="1"/>'
    for value in (low, middle, high):
        yield f'<text x="{LEFT - 6}" y="{down(value) + 4:.1f}" text-anchor="end" fill="#555">{_short(value)}</text>'
    yield f'<text x="{LEFT}" y="{top - 6}">{escape(name)}<tspan fill="#777" dx="8">{escape(unit)}</tspan></text>'
    for number, (label, points) in enumerate(series.items()):
        colour = COLOURS[number % len(COLOURS)]
        steps = " ".join(f"{across(seconds):.1f},{down(value):.1f}" for seconds, value in points if value is not None)
        yield f'<polyline points="{steps}" fill="none" stroke="{colour}" stroke-width="1.3"/>'
        yield f'<text x="{WIDTH - RIGHT - 150 * (len(series) - number) + 10}" y="{top - 6}" fill="{colour}">{escape(label)}</text>'


def _times(top, span):
    step = next((s for s in (10, 30, 60, 120, 300, 600, 1800) if span / s <= 12), 3600)
    for seconds in range(0, int(span) + 1, step):
        across = LEFT + seconds / span * (WIDTH - LEFT - RIGHT)
        text = f"{seconds} s" if span < 300 else f"{seconds // 60} min"
        yield f'<text x="{across:.1f}" y="{top}" text-anchor="middle" fill="#555">{text}</text>'


def _range(values):
    """From 0 where the values aren't far from it, else around them; of values over several decades, just these."""
    if not values:
        return 0.0, 1.0
    low, high = min(values), max(values)
    if low > 0 and high > 30 * low:
        return low, high
    low = 0.0 if low < high * 0.75 or high <= 0 else low - (high - low or high) * 0.5
    return low, high + ((high - low) * 0.08 or 1.0)


def _short(value):
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
