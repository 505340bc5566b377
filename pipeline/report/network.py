"""The part of the page about one store: curves, distributions of scores, and its gallery."""

from collections.abc import Callable

from logitpipe.report.charts.curves import distribution_plot, precision_recall_plot, roc_plot
from logitpipe.report.markup import Html, fold, joined, tag
from logitpipe.report.tables import legend
from logitpipe.report.words import chosen_from, figure
from logitpipe.results.series import Entry, JoinedResults, Series


def network_section(entry: Entry, results: JoinedResults, gallery: Html) -> Html:
    """Return curves, distributions and gallery of one store."""
    title = tag("h3", entry.label)
    if entry.row.auprc is None:
        return joined(title, gallery)
    parts = [part for core in (True, False) if (part := entry.only(core))]
    drawn = [joined(_curves(part, results), _distributions(part)) for part in parts]
    others = [fold("Curves and scores of all other methods", each) for each in drawn[1:]]
    return joined(title, drawn[0], *others, tag("h4", "Best and worst images"), gallery)


def _curves(entry: Entry, results: JoinedResults) -> Html:
    """Return the curves at T = 1, and again with each method at its best temperature where there are several."""
    note = " From histograms of every scored pixel; the dotted line is chance."
    if entry.run.record["exact"]:
        note += " The figures in the table are exact, from every single score."
    figures = []
    if all(series.plain is not None for series in entry.series):
        only = len(results.temperatures) < 2
        words = "Precision-recall and ROC curves" + ("." if only else " at T = 1.")
        figures.append(_curve_figure(entry, lambda series: series.plain or 0, words + note))
    if len(results.temperatures) > 1:
        chosen = chosen_from(len(results.temperatures))
        words = f"The same, each method at the temperature of its best AuPRC: {chosen}."
        figures.append(_curve_figure(entry, lambda series: series.best, words + ("" if figures else note)))
    return joined(tag("h4", "Precision-recall and ROC curves"), *figures)


def _curve_figure(entry: Entry, chosen: Callable[[Series], int], words: str) -> Html:
    rows = [series.rows[chosen(series)] for series in entry.series]
    plots = tag("div", precision_recall_plot(entry, chosen), roc_plot(entry, chosen), class_="plots")
    return tag("figure", plots, legend(entry, rows), tag("figcaption", words))


def _distributions(entry: Entry) -> Html:
    panels = [tag("div", _panel_title(series), distribution_plot(entry, series)) for series in entry.series]
    classes = [tag("span", "normal", class_="key normal"), tag("span", "anomalous", class_="key anomaly")]
    words = (
        " pixels by score, each class by its own share of pixels. Higher scores are to the right; "
        "the scale is even in the score, and in its odds where it is a probability or an entropy."
    )
    drawn = tag("figure", tag("div", *panels, class_="panels"), tag("figcaption", *classes, words))
    return joined(tag("h4", "Scores of normal and anomalous pixels"), drawn)


def _panel_title(series: Series) -> Html:
    row = series.rows[series.shown]
    temperature = "" if row.temperature is None else f"T = {row.temperature:g}"
    area = tag("span", f"AuPRC {figure(row, 'auprc')}", class_="number")
    return tag("p", tag("b", series.method), tag("small", temperature), area, class_="over-plot")
