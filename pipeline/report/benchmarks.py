"""The benchmarks' own figures: components, the closed set with its calibration, the open set."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from logitpipe.report.charts.axes import even_axis
from logitpipe.report.charts.plot import BOTTOM, HEIGHT, LEFT, TOP, WIDTH, frame, svg
from logitpipe.report.markup import Html, fold, joined, tag
from logitpipe.report.tables import scroll_box
from logitpipe.report.words import per_cent
from logitpipe.results.benchmarks import Benchmarks
from logitpipe.results.benchmarks import joined as joined_benchmarks
from logitpipe.results.series import JoinedResults
from logitpipe.stages.score.passes.closed_set import ClosedSetRow
from logitpipe.stages.score.passes.components import ComponentRow
from logitpipe.stages.score.passes.open_set import OpenSetRow
from logitpipe.stages.score.passes.transfer import TransferRow
from logitpipe.tables.benchmarks import closed_set_tables, component_tables, open_set_tables
from logitpipe.tables.render import html
from logitpipe.tables.table import Table
from logitpipe.tables.thresholds import transfer_tables
from logitpipe.tables.uncertainty.fitted import fitted_tables

RIGHT = WIDTH - 12
COLOURS = ("blue", "red")
"""Of the lines of a reliability diagram: T = 1, and the temperature of least NLL."""

OneRow = TypeVar("OneRow", ComponentRow, ClosedSetRow, OpenSetRow, TransferRow)


def benchmarks_section(results: JoinedResults) -> Html:
    """Return the figures that `pipe score --also` has added to any of the results; nothing where there are none."""
    found = joined_benchmarks(run.benchmarks for run in results.runs)
    parts = [*_components(found), *_closed_set(found, results), *_open_set(found), *_transfer(found)]
    return tag("section", tag("h2", "The benchmarks' own figures"), *parts, id="benchmarks") if parts else Html("")


def _components(found: Benchmarks) -> list[Html]:
    words = "How well anomalies are found as objects, as SegmentMeIfYouCan has it: sIoU, PPV and F1 over components."
    return _family("Components", words, [row for row in found.components if row.sizes == "all"], component_tables) + (
        [fold("Components by size of the object", *map(_boxed, component_tables(found.components)))]
        if any(row.sizes != "all" for row in found.components)
        else []
    )


def _open_set(found: Benchmarks) -> list[Html]:
    words = "Known classes beside what is unknown, as ISSU has it; what reaches a threshold is unknown."
    return _family("Open set", words, found.open_set, open_set_tables)


def _transfer(found: Benchmarks) -> list[Html]:
    words = "What a threshold that one data set chose gives on the others: nobody has the labels of the field."
    return _family("Thresholds of other data sets", words, found.transfer, transfer_tables)


def _closed_set(found: Benchmarks, results: JoinedResults) -> list[Html]:
    rows = found.closed_set
    if not rows:
        return []
    pixels = [row for entry in results.entries for series in entry.series for row in series.rows]
    words = (
        "How well the known classes are told apart, and whether a network is as sure as it is right, at T = 1 and at "
        "the temperature of least NLL."
    )
    shown = [row for of_store in _by_store(rows) for row in _chosen(of_store)]
    fitted = list(map(_boxed, fitted_tables(rows, pixels)))
    return [
        tag("h3", "Closed set"),
        tag("p", words, class_="note"),
        *(
            _boxed(t) if t.keys != ("class",) else fold("IoU of each class", _boxed(t))
            for t in closed_set_tables(shown)
        ),
        *fitted,
        _reliability(rows),
        *_every("Closed set at every temperature", rows, shown, closed_set_tables),
    ]


def _family(
    title: str, words: str, rows: Sequence[OneRow], tables: Callable[[Sequence[OneRow]], list[Table]]
) -> list[Html]:
    """Return the tables of a family at T = 1, and folded those at every temperature."""
    if not rows:
        return []
    # No label chose T = 1; where it was not scored, all that was is shown.
    plain: Sequence[OneRow] = [row for row in rows if row.temperature in (None, 1)] or rows
    return [
        tag("h3", title),
        tag("p", words, class_="note"),
        *map(_boxed, tables(plain)),
        *_every(f"{title} at every temperature", rows, plain, tables),
    ]


def _every(
    words: str, rows: Sequence[OneRow], shown: Sequence[OneRow], tables: Callable[[Sequence[OneRow]], list[Table]]
) -> list[Html]:
    # Only where there is more than what is shown already.
    return [fold(words, *map(_boxed, tables(rows)))] if len(rows) > len(shown) else []


def _boxed(table: Table) -> Html:
    return scroll_box(table.title, html(table))


def _by_store(rows: Sequence[ClosedSetRow]) -> list[list[ClosedSetRow]]:
    found: dict[tuple[str, ...], list[ClosedSetRow]] = {}
    for row in rows:
        found.setdefault((row.dataset, row.protocol, row.label_space, row.store), []).append(row)
    return list(found.values())


def _chosen(rows: Sequence[ClosedSetRow]) -> list[ClosedSetRow]:
    """Return the row at T = 1 and that of least NLL, of one store."""
    return [row for row in rows if row.temperature == 1 or row.least_nll] or list(rows[:1])


def _reliability(rows: Sequence[ClosedSetRow]) -> Html:
    plots = [_reliability_plot(_chosen(of_store)) for of_store in _by_store(rows) if of_store[0].figures.reliability]
    if not plots:
        return Html("")
    words = (
        "Share of pixels whose class is right over how sure the network was, in 15 bins of confidence; on the dotted "
        "line both are the same. A dot's size is the share of pixels in its bin."
    )
    return joined(
        tag("h4", "Reliability"), tag("figure", tag("div", *plots, class_="plots"), tag("figcaption", words))
    )


def _reliability_plot(rows: Sequence[ClosedSetRow]) -> Html:
    """Return the reliability diagram of one store, a line for each temperature."""
    x, y = even_axis(0, 100, LEFT, RIGHT), even_axis(0, 100, BOTTOM, TOP)
    first, parts = rows[0], list[str]()
    for i, (row, colour) in enumerate(zip(rows, COLOURS, strict=False)):
        bins = [each for each in row.figures.reliability if each.pixels]
        points = [
            (x.position(100 * (b.confidence or 0)), y.position(100 * (b.accuracy or 0)), b.pixels) for b in bins
        ]
        line = "M" + "L".join(f"{a:.1f} {b:.1f}" for a, b, _ in points)
        most = max((pixels for *_, pixels in points), default=1)
        parts.append(tag("path", d=line, class_=f"line {colour}") if points else "")
        parts += [
            tag("circle", cx=a, cy=b, r=1.5 + 4 * (pixels / most) ** 0.5, class_=f"dot {colour}")
            for a, b, pixels in points
        ]
        name = f"T = {row.temperature:g}, ECE {per_cent(row.figures.ece)}"
        parts.append(tag("text", name, x=x.start + 8, y=y.end + 14 + 14 * i, class_=f"label {colour}"))
    chance = tag("line", x1=x.start, x2=x.end, y1=y.start, y2=y.end, class_="mark")
    title = f"Reliability of {first.network} on {first.dataset}"
    words = "; ".join(f"T = {row.temperature:g}: calibration error {per_cent(row.figures.ece)}" for row in rows)
    plot = svg(WIDTH, HEIGHT, title, words, frame(x, y, "confidence, per cent", "accuracy, per cent"), chance, *parts)
    return tag("div", tag("p", tag("b", first.network), tag("small", f" {first.dataset}"), class_="over-plot"), plot)
