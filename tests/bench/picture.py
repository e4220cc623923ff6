"""Line charts above one another as an SVG, by hand: no library, the same bytes for the same numbers."""

import math
from dataclasses import dataclass
from html import escape

WIDTH, LEFT, RIGHT, TOP = 760, 70, 150, 46
#: Of one chart: its title, its lines, what is below.
TITLE, HEIGHT, GAP = 26, 170, 28
GREY, INK = "#d8dce0", "#22282e"


@dataclass(frozen=True)
class Line:
    """One curve: what it is called, its colour, a value for each step."""

    name: str
    colour: str
    values: list


@dataclass(frozen=True)
class Chart:
    """Curves over the same steps. Without an upper end the axis fits the largest value."""

    title: str
    low: float
    high: object
    lines: list


def picture(title, steps, below, charts):
    """The SVG's text. `steps` are the names on the horizontal axis, evenly spaced; `below` says what they are."""
    height = TOP + len(charts) * (TITLE + HEIGHT + GAP) + 26
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
             'font-family="sans-serif" font-size="12">',
             f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
             text(LEFT, 28, title, size=17, weight="bold")]
    for number, chart in enumerate(charts):
        parts += drawn(chart, steps, TOP + number * (TITLE + HEIGHT + GAP))
    parts.append(text((LEFT + WIDTH - RIGHT) / 2, height - 10, below, anchor="middle"))
    return "\n".join(parts) + "\n</svg>\n"


def drawn(chart, steps, top):
    """One chart, whose title begins at `top`."""
    floor = top + TITLE + HEIGHT
    high = chart.high or rounded_up(max(value for line in chart.lines for value in line.values))

    def across(number):
        return LEFT + (WIDTH - LEFT - RIGHT) * (number + 0.5) / len(steps)

    def up(value):
        return floor - HEIGHT * (value - chart.low) / (high - chart.low)

    parts = [text(LEFT, top + 14, chart.title, weight="bold")]
    for number in range(5):
        value = chart.low + (high - chart.low) * number / 4
        parts.append(f'<path d="M{LEFT} {up(value):.1f}H{WIDTH - RIGHT}" stroke="{GREY}"/>')
        parts.append(text(LEFT - 8, up(value) + 4, f"{value:g}", anchor="end"))
    parts += [text(across(number), floor + 17, name, anchor="middle") for number, name in enumerate(steps)]
    names = apart([up(line.values[-1]) for line in chart.lines])
    for line, name_at in zip(chart.lines, names):
        points = [(across(number), up(value)) for number, value in enumerate(line.values)]
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
        parts.append(f'<path d="M{path}" fill="none" stroke="{line.colour}" stroke-width="2.5"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{line.colour}"/>' for x, y in points]
        parts.append(text(WIDTH - RIGHT + 8, name_at + 4, line.name, colour=line.colour))
    return parts


def apart(places):
    """The places of the curves' names, moved so that none covers another."""
    order = sorted(range(len(places)), key=places.__getitem__)
    moved = list(places)
    for before, after in zip(order, order[1:]):
        moved[after] = max(moved[after], moved[before] + 15)
    return moved


def rounded_up(value):
    """The next 1, 2, 4 or 8 times a power of ten: four equal parts of it are round too."""
    power = 10 ** math.floor(math.log10(value)) if value > 0 else 1
    return next(power * times for times in (1, 2, 4, 8, 10) if power * times >= value)


def text(x, y, words, size=12, anchor="start", weight="normal", colour=INK):
    return (f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" font-weight="{weight}" '
            f'fill="{colour}">{escape(words)}</text>')
