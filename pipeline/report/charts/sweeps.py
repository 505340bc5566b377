"""Charts of every method: over temperature, or as bars where there is one temperature alone."""

from logitpipe.report.charts.axes import Axis, even_axis, temperature_axis
from logitpipe.report.charts.plot import (
    BOTTOM,
    HEIGHT,
    LEFT,
    TOP,
    WIDTH,
    Line,
    draw_lines,
    end_labels,
    frame,
    style_of,
    svg,
)
from logitpipe.report.markup import Html, tag
from logitpipe.report.words import per_cent
from logitpipe.results.series import Entry, Series

LABEL_ROOM = 96.0
BAR_LEFT, BAR_RIGHT, BAR_STEP = 104.0, WIDTH - 52, 22.0
METRICS = {"auprc": "AuPRC", "fpr95": "FPR95"}


def temperature_plot(entry: Entry, metric: str, limits: tuple[float, float]) -> Html:
    """Return a metric of every method of a store over two or more temperatures.

    Parameters
    ----------
    metric : of METRICS
    limits : per cent; the same for stores that are compared
    """
    temperatures = [row.temperature for series in entry.series for row in series.rows if row.temperature is not None]
    x, y = temperature_axis(temperatures, LEFT, WIDTH - LABEL_ROOM), even_axis(*limits, BOTTOM, TOP)
    lines = [_over_temperature(series, metric, (x.low, x.high)) for series in entry.series]
    one = (
        tag("line", x1=x.position(1), x2=x.position(1), y1=y.start, y2=y.end, class_="mark")
        if x.low < 1 < x.high
        else ""
    )
    return svg(
        WIDTH,
        HEIGHT,
        f"{METRICS[metric]} of {entry.label} over temperature",
        "; ".join(_in_words(line) for line in lines),
        frame(x, y, "temperature T", f"{METRICS[metric]}, per cent"),
        one,
        draw_lines(lines, x, y),
        end_labels(lines, x, y),
    )


def bar_plot(entry: Entry, metric: str) -> Html:
    """Return a metric of every method of a store at the only temperature there is."""
    bottom = TOP + BAR_STEP * len(entry.series)
    x, y = even_axis(0, 100, BAR_LEFT, BAR_RIGHT), Axis(0, 1, bottom, TOP, ())
    figures = {series.method: getattr(series.rows[0], metric) for series in entry.series}
    bars = [
        part
        for i, (method, figure) in enumerate(figures.items())
        for part in _bar(method, 100 * figure, TOP + BAR_STEP * (i + 0.5), x)
    ]
    words = "; ".join(f"{method}: {per_cent(figure)}" for method, figure in figures.items())
    name = f"{METRICS[metric]} of {entry.label}"
    return svg(WIDTH, bottom + 42, name, words, frame(x, y, f"{METRICS[metric]}, per cent"), *bars)


def _bar(method: str, value: float, middle: float, x: Axis) -> list[Html]:
    end, colour = x.position(value), style_of(method)[0]
    return [
        tag("text", method, x=x.start - 8, y=middle + 4, class_="label end"),
        tag("rect", x=x.start, y=middle - 6, width=end - x.start, height=12, class_=f"bar {colour}"),
        tag("text", f"{value:.3f}", x=end + 5, y=middle + 4),
    ]


def _over_temperature(series: Series, metric: str, limits: tuple[float, float]) -> Line:
    """Return a method's line, its best point marked; a level one where temperature changes nothing."""
    values = [100 * getattr(row, metric) for row in series.rows]
    if not series.tempered:
        return Line(series.method, [(T, values[0]) for T in limits])
    points = [(row.temperature or 1.0, value) for row, value in zip(series.rows, values, strict=True)]
    best = max if metric == "auprc" else min
    return Line(series.method, points, best(points, key=lambda point: point[1]))


def _in_words(line: Line) -> str:
    (first, start), (last, end) = line.points[0], line.points[-1]
    if line.dot is None:
        return f"{line.method}: {start:.3f} at every temperature"
    ends = f"{start:.3f} at T = {first:g}, {end:.3f} at T = {last:g}"
    return f"{line.method}: {ends}, best {line.dot[1]:.3f} at T = {line.dot[0]:g}"
