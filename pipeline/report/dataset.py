"""The section of one data set: what is best, all methods compared, charts over temperature, then each store."""

from collections.abc import Mapping

from logitpipe.report.charts.sweeps import METRICS, bar_plot, temperature_plot
from logitpipe.report.markup import Html, fold, joined, tag
from logitpipe.report.network import network_section
from logitpipe.report.tables import comparison, every_figure
from logitpipe.report.words import at_temperature, chosen_from, figure
from logitpipe.results.series import Entry, JoinedResults, Series

Found = tuple[Entry, Series, int]
"""A store, one of its methods, and the index of a row of that."""


def dataset_section(
    anchor: str, name: str, entries: list[Entry], results: JoinedResults, galleries: Mapping[str, Html]
) -> Html:
    """Return all that was found on one data set."""
    every = every_figure(name, entries)
    networks = (
        fold(
            f"{entry.label}: curves, scores, best and worst images",
            network_section(entry, results, galleries[entry.facts["fingerprint"]]),
        )
        for entry in entries
    )
    core, others = ([part for entry in entries if (part := entry.only(core))] for core in (True, False))
    # The core alone, as tables and charts of thirty methods cannot be read; where it was not scored, what was.
    shown = [_compared(name, some, results) for some in (core, others) if some]
    return tag(
        "section",
        tag("h2", name),
        tag("p", _counts(entries), class_="note"),
        _findings(entries),
        fold(
            "Methods compared",
            shown[0],
            *(fold("All other methods", each) for each in shown[1:]),
            anchor=f"{anchor}-methods",
        ),
        *networks,
        fold("Every figure at every temperature, with its bounds", every, class_="screen"),
        id=anchor,
    )


def _compared(name: str, entries: list[Entry], results: JoinedResults) -> Html:
    return joined(comparison(name, entries, results.temperatures), _over_temperature(entries, results))


def _counts(entries: list[Entry]) -> str:
    """Say what was scored, once where it is the same for all stores."""
    rows = [entry.row for entry in entries]
    shares = [f"{100 * row.positives / max(1, row.pixels):.2f}" for row in rows]
    words = [
        f"{row.images:,} images, {row.pixels:,} scored pixels, {share} per cent of them anomalous"
        for row, share in zip(rows, shares, strict=True)
    ]
    return "; ".join(dict.fromkeys(words))


def _findings(entries: list[Entry]) -> Html:
    """Say what is best, without and with a choice of temperature."""
    every = [(entry, s) for entry in entries for s in entry.series if s.rows[s.best].auprc is not None]
    if not every:
        return tag("p", "Figures need anomalous and normal pixels; here one of the two does not occur.")
    # Best at T = 1 first: that figure is free of a choice by labels, the other one is not.
    plain = [(entry, s, s.plain) for entry, s in every if s.plain is not None]
    best = max(((entry, s, s.best) for entry, s in every), key=_area)
    found = [tag("p", "Best without a choice of temperature: ", _finding(max(plain, key=_area)))] if plain else []
    if (count := len(best[1].rows)) > 1:
        chosen = tag("span", f" ({chosen_from(count)})", class_="note")
        found.append(tag("p", "Best with the temperature chosen by AuPRC: ", _finding(best), chosen))
    return tag("div", *found, class_="findings")


def _area(found: Found) -> float:
    return found[1].rows[found[2]].auprc or 0.0


def _finding(found: Found) -> Html:
    entry, series, index = found
    row = series.rows[index]
    what = f"{series.method} of {entry.label}{at_temperature(row)}, "
    return joined(what, tag("strong", f"AuPRC {figure(row, 'auprc')}"), f", FPR95 {figure(row, 'fpr95')}")


def _over_temperature(entries: list[Entry], results: JoinedResults) -> Html:
    """Return charts of AuPRC and FPR95: over temperature, or by method where there is but one."""
    some = [entry for entry in entries if entry.row.auprc is not None]
    if not some:
        return Html("")
    count = len(results.temperatures)
    title, words = "Method by method", "AuPRC (higher is better) and FPR95 (lower is better)."
    if count > 1:
        title = "Over temperature"
        words += f" A dot marks the best temperature of each line: {chosen_from(count)}. The dotted line is T = 1."
    plots = [part for entry in some for part in _plots(entry, some, count > 1)]
    return joined(tag("h3", title), tag("figure", *plots, tag("figcaption", words)))


def _plots(entry: Entry, entries: list[Entry], swept: bool) -> list[Html]:
    if swept and any(series.tempered for series in entry.series):
        plots = [temperature_plot(entry, metric, _limits(entries, metric)) for metric in METRICS]
    else:
        plots = [bar_plot(entry, metric) for metric in METRICS]
    return [tag("h4", entry.label), tag("div", *plots, class_="plots")]


def _limits(entries: list[Entry], metric: str) -> tuple[float, float]:
    """Return the least and the greatest of a metric, per cent, over all that is compared."""
    rows = (row for entry in entries for series in entry.series for row in series.rows)
    # One scale for all networks of a data set: with a scale for each, equal heights would mean different figures.
    values = [100 * value for row in rows if (value := getattr(row, metric)) is not None]
    return min(values), max(values)
