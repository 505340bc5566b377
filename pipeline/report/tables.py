"""The tables of the page: methods compared, and every figure with its resolution bounds."""

from collections.abc import Sequence

from logitpipe.report.charts.plot import swatch
from logitpipe.report.markup import Html, joined, tag
from logitpipe.report.words import at_temperature, chosen_from, figure, per_cent
from logitpipe.results.series import Entry, Series
from logitpipe.stages.score.figures.rows import DECIMALS, Row

COMPARED = {"auprc": ("AuPRC", max), "fpr95": ("FPR95", min), "auroc": ("AUROC", max)}
"""Figures that are compared, with the name of each and which is best."""


def scroll_box(label: str, table: str) -> Html:
    """Return a table in a box of its own that scrolls where the page is too narrow, by keyboard too."""
    return tag("div", table, class_="scroll", role="region", aria_label=label, tabindex=0)


def comparison(dataset: str, entries: Sequence[Entry], temperatures: Sequence[float]) -> Html:
    """Return the table of one data set: a line for each network and method, figures at T = 1 and at the best T."""
    swept = len(temperatures) > 1
    plain = [i for entry in entries for s in entry.series if (i := s.plain) is not None and s.tempered] or not swept
    groups = ["plain"] * bool(plain) + ["best"] * swept
    table = [_head(groups, temperatures)]
    marks = {group: _best_figures([_row(s, group) for e in entries for s in e.series]) for group in groups}
    table += [_body(entry, groups, marks) for entry in entries]
    name = f"Methods compared on {dataset}"
    return scroll_box(name, tag("table", tag("caption", f"{name}, per cent"), *table, class_="comparison"))


def _row(series: Series, group: str) -> Row | None:
    index = series.best if group == "best" else series.plain
    return None if index is None else series.rows[index]


def _best_figures(rows: Sequence[Row | None]) -> dict[str, float]:
    """Return the best of each figure to the digits of a table: what looks equal is marked alike."""
    found: dict[str, float] = {}
    for name, (_, best) in COMPARED.items():
        values = [value for row in rows if row and (value := getattr(row, name)) is not None]
        if values:
            # Rounded as it is printed: of two figures that look equal none may be marked alone.
            found[name] = round(100 * best(values), DECIMALS)
    return found


def _head(groups: Sequence[str], temperatures: Sequence[float]) -> Html:
    only = f"T = {temperatures[0]:g}" if len(temperatures) == 1 else "T = 1" if temperatures else "no temperature"
    titles = {"plain": only, "best": joined("Best T by AuPRC ", tag("small", chosen_from(len(temperatures))))}
    first = [tag("th", "Method", scope="col", rowspan=2)]
    second: list[str] = []
    for group in groups:
        names = [name for name, _ in COMPARED.values()]
        names = ["T", *names] if group == "best" else names
        first.append(tag("th", titles[group], scope="colgroup", colspan=len(names), class_="group"))
        second += [tag("th", name, scope="col", class_=_first(i == 0)) for i, name in enumerate(names)]
    return tag("thead", tag("tr", *first), tag("tr", *second))


def _body(entry: Entry, groups: Sequence[str], marks: dict[str, dict[str, float]]) -> Html:
    columns = 1 + len(groups) * len(COMPARED) + ("best" in groups)
    label = tag("span", entry.label, class_="stay")
    lines = [tag("tr", tag("th", label, scope="rowgroup", colspan=columns, class_="network"))]
    for series in entry.series:
        cells = [cell for group in groups for cell in _cells(series, group, marks[group])]
        lines.append(tag("tr", tag("th", swatch(series.method), series.method, scope="row"), *cells))
    return tag("tbody", *lines)


def _cells(series: Series, group: str, best: dict[str, float]) -> list[Html]:
    row = _row(series, group)
    cells = [] if group == "plain" else [_temperature_cell(series)]
    for i, name in enumerate(COMPARED):
        text = "" if row is None else figure(row, name)
        value = None if row is None else getattr(row, name)
        is_best = value is not None and round(100 * value, DECIMALS) == best[name]
        shown = tag("strong", text) if is_best else text
        title = interval(row) if row and name == "auprc" else None
        cells.append(tag("td", shown, title=title, class_=_first(i == 0 and group == "plain")))
    return cells


def _temperature_cell(series: Series) -> Html:
    if not series.tempered:
        return tag("td", "any", class_="first note")
    row = series.rows[series.best]
    if row.auprc is None:
        return tag("td", "none", class_="first")
    note = tag("small", f"best of {len(series.rows)}", title=chosen_from(len(series.rows)))
    return tag("td", f"{row.temperature:g} ", note, class_="first")


def interval(row: Row) -> str:
    """Return the resolution bounds of a row's AuPRC in words."""
    if row.auprc_lower is None or row.auprc_upper is None:
        return "no AuPRC: normal and anomalous pixels are both needed"
    return f"known to lie from {100 * row.auprc_lower:.5f} to {100 * row.auprc_upper:.5f}"


def every_figure(dataset: str, entries: Sequence[Entry]) -> Html:
    """Return the table of all rows over one data set, resolution bounds and IoU included."""
    thresholds = [iou["threshold"] for iou in entries[0].row.iou]
    head = ["Network", "Method", "T", "AuPRC", "at least", "at most", "FPR95", "AUROC", "best F1", "at score"]
    head += [f"IoU {name} at {threshold:g}" for threshold in thresholds for name in ("normal", "anomaly", "mean")]
    lines = [_line(entry.label, row) for entry in entries for series in entry.series for row in series.rows]
    name = f"Every figure on {dataset}"
    table = tag(
        "table",
        tag("caption", f"{name}, per cent but for T and scores"),
        tag("thead", tag("tr", *(tag("th", text, scope="col", class_=_word(i)) for i, text in enumerate(head)))),
        tag("tbody", *lines),
    )
    return scroll_box(name, table)


def _line(label: str, row: Row) -> Html:
    bounds = map(per_cent, (row.auprc_lower, row.auprc_upper))
    figures = [figure(row, "auprc"), *bounds, *(figure(row, name) for name in ("fpr95", "auroc", "f1"))]
    threshold = "none" if row.best_f1_threshold is None else f"{row.best_f1_threshold:.6g}"
    ious = [iou[name] for iou in row.iou for name in ("normal", "anomaly", "mean")]
    cells = ["any" if row.temperature is None else f"{row.temperature:g}", *figures, threshold]
    texts = [*cells, *map(per_cent, ious)]
    method = tag("td", row.method, class_="word")
    return tag("tr", tag("th", label, scope="row", class_="word"), method, *(tag("td", text) for text in texts))


def legend(entry: Entry, rows: Sequence[Row]) -> Html:
    """Return a table that names each line of a pair of curves by its method, with the areas under both."""
    ranked = sorted((row for row in rows if row.auprc is not None), key=lambda row: -(row.auprc or 0))
    head = tag("tr", *(tag("th", text, scope="col") for text in ("Method", "AuPRC", "FPR95", "AUROC")))
    lines = [
        tag(
            "tr",
            tag("th", swatch(row.method), joined(row.method, tag("small", at_temperature(row))), scope="row"),
            *(tag("td", figure(row, name)) for name in COMPARED),
        )
        for row in ranked
    ]
    name = f"Lines of the curves of {entry.label}"
    return scroll_box(name, tag("table", tag("thead", head), tag("tbody", *lines), class_="legend"))


def _first(is_first: bool) -> str | None:
    """Return the class of the first column of a group."""
    return "first" if is_first else None


def _word(column: int) -> str | None:
    """Return the class of a column of words."""
    return "word" if column < 2 else None
