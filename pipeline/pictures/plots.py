"""Plots for papers, by matplotlib, from results alone: sweep, curves, distributions of scores, ranking.

Every function yields names and figures, and changes nothing of the process; `in_print` sets the type.
"""

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from itertools import product
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from logitpipe.console.text import printable
from logitpipe.report.charts.axes import LOGARITHMIC_FROM, score_ticks
from logitpipe.report.charts.plot import STYLES
from logitpipe.results.selection import Temperature, row_at
from logitpipe.results.series import Entry, JoinedResults, Series
from logitpipe.stages.score.figures.curves import BINS, Sketch
from logitpipe.tables.metrics import METRICS, Metric, value
from logitpipe.tables.paper import Line, paper_lines

WIDTHS = {"column": 88.0, "page": 180.0}
"""Millimetres, as two-column papers have them."""

MM_PER_INCH = 25.4
POINTS: dict[str, Any] = {"font.size": 8, "axes.titlesize": 8, "axes.labelsize": 8, "legend.fontsize": 7}
FONTS: dict[str, dict[str, Any]] = {
    "serif": {"font.family": "STIXGeneral", "mathtext.fontset": "stix"},
    "sans": {"font.family": "DejaVu Sans", "mathtext.fontset": "dejavusans"},
}
PRINT: dict[str, Any] = {
    "axes.linewidth": 0.6,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "grid.linewidth": 0.4,
    "grid.color": "#e0e0e0",
    "lines.linewidth": 1.0,
    "legend.frameon": False,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "pdf.fonttype": 42,  # what publishers take: outlines that can be searched
    "svg.hashsalt": "logitpipe",  # the same results give the same file
}

Dashes = Literal["-"] | tuple[float, tuple[float, ...]]

COLOURS = {
    "blue": "#0067a8",
    "green": "#00795a",
    "red": "#c2410c",
    "violet": "#8e3d86",
    "gold": "#b07d00",
    "grey": "#5b6068",
}
DASHES: tuple[Dashes, ...] = ("-", (0, (4, 2)), (0, (1, 1.5)), (0, (5, 1.5, 1, 1.5)))
NORMAL, ANOMALOUS = "#9db4cc", "#d4600a"

Plots = Iterator[tuple[str, Figure]]
Look = Mapping[str, tuple[str, Dashes]]
"""Colour and dashes by method."""


class PaperFigure(Figure):
    """A figure that is drawn in the type in which it was made, wherever it is shown or saved later.

    Its size is given in inches, its layout is constrained.
    """

    def __init__(self, size: tuple[float, float]) -> None:
        names: tuple[Any, ...] = (*PRINT, *POINTS, *FONTS["sans"])
        self._type: dict[Any, Any] = {name: mpl.rcParams[name] for name in names}
        super().__init__(size, layout="constrained")

    def savefig(self, *args: Any, **keywords: Any) -> None:  # noqa: ANN401 (as matplotlib has it)
        """Save the plot as `Figure.savefig` does."""
        with mpl.rc_context(self._type):
            super().savefig(*args, **keywords)

    def _repr_png_(self) -> bytes:
        """Return the figure as a notebook shows it, whether or not pyplot was imported there."""
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=150)
        return buffer.getvalue()


def in_print(font: str) -> AbstractContextManager[None]:
    """Return a context in which figures are drawn and saved in a paper's type; `font` is of FONTS."""
    settings: dict[Any, Any] = PRINT | POINTS | FONTS[font]
    return mpl.rc_context(settings)


def as_bytes(figure: Figure, file_format: str) -> bytes:
    """Return a plot as a file of a format, svg, pdf or png; the same plot gives the same bytes."""
    # matplotlib writes the time of day into SVG and PDF, and the same figure would differ in every run.
    undated = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {}}[file_format]
    buffer = io.BytesIO()
    figure.savefig(buffer, format=file_format, dpi=300, metadata=undated)
    return buffer.getvalue()


def sweep(results: JoinedResults, width: float, _temperature: Temperature) -> Plots:
    """Yield for each data set AuPRC and FPR95 of every method over temperature, a column for each network."""
    look = looks(results)
    for dataset, entries in results.datasets.items():
        some = [entry for entry in entries if entry.row.auprc is not None and any(s.tempered for s in entry.series)]
        if not some:
            continue
        figure, axes = _panels(2, len(some), width, 0.72, sharex="col", sharey="row")
        for (row, metric), (column, entry) in product(
            enumerate((METRICS["auprc"], METRICS["fpr95"])), enumerate(some)
        ):
            _sweep_panel(axes[row, column], entry, metric, look)
            axes[row, 0].set_ylabel(f"{metric.title} (%)")
            axes[0, column].set_title(_text(entry.label))
            axes[1, column].set_xlabel("temperature $T$")
        _legend(figure, some, look)
        yield dataset, figure


def precision_recall(results: JoinedResults, width: float, temperature: Temperature) -> Plots:
    """Yield for each data set precision over recall of every method, a panel for each network."""

    def points(sketch: Sketch) -> tuple[np.ndarray, np.ndarray]:
        some = sketch.recall + sketch.fpr > 0  # precision where nothing is found is a convention
        return sketch.recall[some], sketch.precision[some]

    yield from _curves(results, width, temperature, points, ("recall (%)", "precision (%)"))


def roc(results: JoinedResults, width: float, temperature: Temperature) -> Plots:
    """Yield for each data set the ROC curves of every method, a panel for each network."""
    names = ("false positive rate (%)", "true positive rate (%)")
    yield from _curves(results, width, temperature, lambda sketch: (sketch.fpr, sketch.recall), names)


def scores(results: JoinedResults, width: float, temperature: Temperature) -> Plots:
    """Yield for each data set and network how the scores of normal and anomalous pixels are spread."""
    for dataset, entries in results.datasets.items():
        for entry in entries:
            shown = _shown(entry, temperature)
            if not shown:
                continue
            across = min(len(shown), 2 if width < WIDTHS["page"] else 4)
            figure, axes = _panels(-(-len(shown) // across), across, width, 0.6)
            for axis, (series, index) in zip(axes.flat, shown, strict=False):
                _score_panel(axis, series, index)
            # The last line of panels may be filled only in part.
            for axis in axes.flat[len(shown) :]:
                axis.remove()
            handles, names = axes.flat[0].get_legend_handles_labels()
            figure.legend(handles, names, loc="outside lower center", ncols=2)
            yield f"{dataset}_{entry.label}", figure


def ranking(results: JoinedResults, width: float, temperature: Temperature) -> Plots:
    """Yield one plot of all data sets: AuPRC of every network and method, the best on top, a panel for each."""
    metric, datasets = METRICS["auprc"], list(results.datasets)
    lines = sorted(paper_lines(results, temperature), key=lambda line: _mean(line, metric))
    # A line without a point would look like an AuPRC of 0.
    lines = [line for line in lines if any(row.auprc is not None for row in line.rows.values())]
    if not lines:
        return
    # Inches: 0.16 for each line of text at 7 points, 0.55 for title and axis.
    height = (0.16 * len(lines) + 0.55) * MM_PER_INCH
    figure, axes = _panels(1, len(datasets), width, height * len(datasets) / width, sharey="row")
    networks = list(dict.fromkeys(line.network for line in lines))
    colours = dict(zip(networks, list(COLOURS.values()) * len(networks), strict=False))
    for axis, dataset in zip(axes.flat, datasets, strict=True):
        for at, line in enumerate(lines):
            if dataset in line.rows and (figure_ := value(line.rows[dataset], metric)) is not None:
                axis.plot([0, 100 * figure_], [at, at], color="#d0d0d0", linewidth=0.8)
                axis.plot([100 * figure_], [at], "o", markersize=3.5, color=colours[line.network])
        axis.set_title(_text(dataset))
        axis.set_xlabel(f"{metric.title} (%)")
        axis.set_xlim(left=0)
        axis.set_yticks(range(len(lines)), [_text(f"{line.network} {line.method}") for line in lines])
        axis.tick_params(axis="y", length=0)
        axis.spines["left"].set_visible(False)
    yield "all", figure


KINDS: dict[str, Callable[[JoinedResults, float, Temperature], Plots]] = {
    "sweep": sweep,
    "pr": precision_recall,
    "roc": roc,
    "scores": scores,
    "ranking": ranking,
}
"""By the name that asks for them: (results, width in millimetres, temperature) -> names and figures."""


def looks(results: JoinedResults) -> Look:
    """Return colour and dashes of each method, no two alike as long as there are enough."""
    methods = dict.fromkeys(series.method for entry in results.entries for series in entry.series)
    # Known methods look as they do on the page of `pipe report`; the others get what is left over.
    found = {m: (COLOURS[STYLES[m][0]], DASHES[STYLES[m][1] is not None]) for m in methods if m in STYLES}
    free = (each for each in product(COLOURS.values(), DASHES) if each not in found.values())
    return {method: found.get(method) or next(free, ("#5b6068", DASHES[2])) for method in methods}


def _panels(rows: int, columns: int, width: float, aspect: float, **shared: str) -> tuple[Figure, np.ndarray]:
    """Return a plot of so many panels, `aspect` times as high as they are wide."""
    inches = width / MM_PER_INCH
    figure = PaperFigure((inches, rows * inches / columns * aspect + 0.35))
    return figure, np.asarray(figure.subplots(rows, columns, squeeze=False, **shared))  # type: ignore[call-overload]


def _sweep_panel(axis: Axes, entry: Entry, metric: Metric, look: Look) -> None:
    temperatures = [row.temperature for s in entry.series for row in s.rows if row.temperature is not None]
    low, high = min(temperatures), max(temperatures)
    if high / low >= LOGARITHMIC_FROM:
        axis.set_xscale("log")
        axis.xaxis.set_major_formatter("{x:g}")
    for series in entry.series:
        colour, dashes = look[series.method]
        values = [100 * (value(row, metric) or 0.0) for row in series.rows]
        if not series.tempered:
            # One value for all temperatures: a level line over the whole axis, `values` being a list of one.
            axis.plot([low, high], values * 2, color=colour, linestyle=dashes)
            continue
        found = [row.temperature or 1.0 for row in series.rows]
        axis.plot(found, values, color=colour, linestyle=dashes)
        best = values.index(metric.better(values))
        axis.plot(found[best], values[best], "o", color=colour, markersize=3, markerfacecolor="white")
    if low < 1 < high:
        axis.axvline(1, color="#808080", linewidth=0.6, linestyle=":")
    axis.grid(axis="y")


def _curves(
    results: JoinedResults,
    width: float,
    temperature: Temperature,
    points: Callable[[Sketch], tuple[np.ndarray, np.ndarray]],
    names: tuple[str, str],
) -> Plots:
    look = looks(results)
    for dataset, entries in results.datasets.items():
        some = [entry for entry in entries if _shown(entry, temperature)]
        if not some:
            continue
        figure, axes = _panels(1, len(some), width, 0.85, sharey="row")
        for axis, entry in zip(axes.flat, some, strict=True):
            for series, index in _shown(entry, temperature):
                colour, dashes = look[series.method]
                x, y = points(series.sketches[index])
                axis.plot(100 * x, 100 * y, color=colour, linestyle=dashes)
            axis.set_title(_text(entry.label))
            axis.set_xlabel(names[0])
            axis.set_xlim(0, 100)
            axis.grid()
        axes.flat[0].set_ylabel(names[1])
        axes.flat[0].set_ylim(bottom=0)  # last, as it ends the search for a common top
        _legend(figure, some, look)
        yield dataset, figure


def _score_panel(axis: Axes, series: Series, index: int) -> None:
    """Draw the shares of both classes by score; the bins are even on an axis of their own (see `curves`)."""
    row, sketch = series.rows[index], series.sketches[index]
    positions = np.arange(BINS + 1)
    axis.stairs(100 * sketch.normal, positions, fill=True, color=NORMAL, label="normal pixels")
    axis.stairs(100 * sketch.anomaly, positions, color=ANOMALOUS, linewidth=1.0, label="anomalous pixels")
    ticks = dict(score_ticks(sketch.edges, (0.1, 0.5, 0.9)))
    axis.set_xticks(list(ticks), [text.replace("-", "\N{MINUS SIGN}") for text in ticks.values()])
    axis.set_xlabel("score")
    axis.set_yticks([])
    axis.spines["left"].set_visible(False)
    at = "" if row.temperature is None else f", $T$ = {row.temperature:g}"
    axis.set_title(f"{_text(series.method)}{at}")


def _shown(entry: Entry, temperature: Temperature) -> list[tuple[Series, int]]:
    """Return the methods of a store that have figures at a temperature, each with the index of its row there."""
    found = ((series, row_at(series, temperature)) for series in entry.series)
    return [(series, i) for series, i in found if i is not None and series.rows[i].auprc is not None]


def _legend(figure: Figure, entries: Sequence[Entry], look: Look) -> None:
    methods = dict.fromkeys(series.method for entry in entries for series in entry.series)
    lines = [mpl.lines.Line2D([], [], color=look[m][0], linestyle=look[m][1], label=_text(m)) for m in methods]
    across = max(2, int(figure.get_figwidth() / 0.85))
    figure.legend(handles=lines, loc="outside lower center", ncols=min(len(lines), across), handlelength=2.2)


def _text(name: str) -> str:
    """Return a name as it is, with nothing in it that would be set as a formula."""
    return printable(name).replace("$", r"\$")


def _mean(line: Line, metric: Metric) -> float:
    values = [found for row in line.rows.values() if (found := value(row, metric)) is not None]
    return float(np.mean(values)) if values else 0.0
