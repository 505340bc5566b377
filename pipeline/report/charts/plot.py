"""Parts of SVG charts: the chart with its text alternative, a frame with axes, lines, labels."""

from collections.abc import Sequence
from dataclasses import dataclass

from logitpipe.report.charts.axes import Axis
from logitpipe.report.markup import Html, joined, tag

WIDTH, HEIGHT = 400.0, 270.0
LEFT, TOP, BOTTOM = 36.0, 30.0, 228.0
"""Of the area that lines are drawn in; around it stand names and numbers."""

LABEL_HEIGHT = 12.5

STYLES: dict[str, tuple[str, str | None]] = {
    "msp": ("blue", None),
    "maxlogit": ("green", None),
    "entropy": ("red", None),
    "energy": ("violet", None),
    "void": ("grey", None),
    "rba": ("gold", None),
    "rba-normalized": ("gold", "5 3"),
    "mask2anomaly": ("blue", "5 3"),
    "neg-sum": ("green", "5 3"),
    "mask-energy": ("violet", "5 3"),
    "eam": ("red", "5 3"),
}
"""Colour and dashes of the core methods, the same in every chart; the style sheet has the colours, light and dark.
"""

OTHER_STYLES: dict[str, tuple[str, str | None]] = {
    "margin": ("blue", "2 2"),
    "gini": ("green", "2 2"),
    "renyi": ("red", "2 2"),
    "gen": ("violet", "2 2"),
    "softmax-msp": ("blue", "8 3 2 3"),
    "softmax-entropy": ("red", "8 3 2 3"),
    "softmax-energy": ("violet", "8 3 2 3"),
    "raw-msp": ("blue", "2 2"),
    "rba-product": ("gold", "2 2"),
    "rba-tanh-log": ("gold", "8 3 2 3"),
    "rba-plus1": ("gold", "12 3"),
    "rba-hard": ("grey", "5 3"),
    "no-object-max": ("grey", "2 2"),
    "rejection": ("green", "2 2"),
    "uno": ("green", "8 3 2 3"),
}
"""The same of all other methods, which are drawn apart from the core."""


@dataclass(frozen=True)
class Line:
    """A line in a chart.

    Parameters
    ----------
    method : gives it colour and dashes
    points : (x, y), values
    dot : the point to mark, if any
    """

    method: str
    points: Sequence[tuple[float, float]]
    dot: tuple[float, float] | None = None


def style_of(method: str) -> tuple[str, str | None]:
    """Return colour and dashes of a method; a name that no release knew is grey and dotted."""
    return (STYLES | OTHER_STYLES).get(method, ("grey", "1 3"))


def svg(width: float, height: float, title: str, description: str, *children: str) -> Html:
    """Return a chart that says what it shows to those who do not see it."""
    return tag(
        "svg",
        tag("title", title),
        tag("desc", description),
        *children,
        viewBox=f"0 0 {width:g} {height:g}",
        role="img",
    )


def frame(x: Axis, y: Axis, x_name: str = "", y_name: str = "") -> Html:
    """Return axes with names, ticks and a faint line at each tick of `y`."""
    left, right, bottom, top = x.start, x.end, y.start, y.end
    parts: list[str] = [
        tag("text", y_name, x=left, y=top - 14, class_="name") if y_name else "",
        tag("text", x_name, x=(left + right) / 2, y=bottom + 34, class_="name middle") if x_name else "",
    ]
    for value, text in y.ticks:
        parts.append(tag("line", x1=left, x2=right, y1=y.position(value), y2=y.position(value), class_="grid"))
        parts.append(tag("text", text, x=left - 6, y=y.position(value) + 4, class_="end"))
    parts.append(tag("line", x1=left, x2=right, y1=bottom, y2=bottom, class_="axis"))
    for value, text in x.ticks:
        parts.append(tag("line", x1=x.position(value), x2=x.position(value), y1=bottom, y2=bottom + 4, class_="axis"))
        parts.append(tag("text", text, x=x.position(value), y=bottom + 17, class_="middle"))
    return joined(*parts)


def draw_lines(lines: Sequence[Line], x: Axis, y: Axis) -> Html:
    """Return lines in the styles of their methods."""
    return joined(*(_line(line, x, y) for line in lines))


def end_labels(lines: Sequence[Line], x: Axis, y: Axis) -> Html:
    """Return the names of lines behind their last points, moved apart where they would overlap."""
    wanted = [y.position(line.points[-1][1]) for line in lines]
    positions = spread(wanted, LABEL_HEIGHT, y.end - 4, y.start + 4)
    parts = []
    for line, at, position in zip(lines, wanted, positions, strict=True):
        colour = style_of(line.method)[0]
        parts.append(
            tag("path", d=f"M{x.end + 2:.1f} {at:.1f}L{x.end + 9:.1f} {position:.1f}", class_=f"leader {colour}")
        )
        parts.append(tag("text", line.method, x=x.end + 12, y=position + 4, class_=f"label {colour}"))
    return joined(*parts)


def spread(positions: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Return positions in the same order, at least `gap` apart as far as there is room between `low` and `high`."""
    order = sorted(range(len(positions)), key=lambda i: positions[i])
    # With more labels than there is room for, they move closer together instead of out of the chart.
    gap = min(gap, (high - low) / max(1, len(positions) - 1))
    moved = [max(low, min(high, positions[i])) for i in order]
    for i in range(1, len(moved)):
        moved[i] = max(moved[i], moved[i - 1] + gap)
    # What was pushed beyond the end pushes back.
    limit = high
    for i in reversed(range(len(moved))):
        moved[i] = min(moved[i], limit)
        limit = moved[i] - gap
    found = dict(zip(order, moved, strict=True))
    return [found[i] for i in range(len(positions))]


def swatch(method: str) -> Html:
    """Return a short piece of a method's line, for a legend that names the method beside it."""
    colour, dashes = style_of(method)
    line = tag("line", x1=1, x2=27, y1=5, y2=5, class_=f"line {colour}", stroke_dasharray=dashes)
    return tag("svg", line, viewBox="0 0 28 10", class_="swatch", aria_hidden="true")


def _line(line: Line, x: Axis, y: Axis) -> Html:
    colour, dashes = style_of(line.method)
    # Points that fall on one tenth of a unit are drawn once: they look the same, and the page stays small.
    positions = list(dict.fromkeys(f"{x.position(a):.1f} {y.position(b):.1f}" for a, b in line.points))
    path = tag("path", d="M" + "L".join(positions), class_=f"line {colour}", stroke_dasharray=dashes)
    if line.dot is None:
        return path
    return joined(
        path, tag("circle", cx=x.position(line.dot[0]), cy=y.position(line.dot[1]), r=3.2, class_=f"dot {colour}")
    )
