"""Results in Python: as a data frame, an xarray data set, tables as papers have them, and files."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from logitpipe.api.arguments.progress import followed
from logitpipe.api.tables import PrintedTable, frame_of
from logitpipe.cache.errors import UsageError
from logitpipe.results.selection import Temperature

if TYPE_CHECKING:
    import pandas
    import xarray

    from logitpipe.results.benchmarks import Records
    from logitpipe.results.per_image.histograms import ImageCounts
    from logitpipe.results.series import JoinedResults
    from logitpipe.stages.score.figures.curves import Sketch
    from logitpipe.stages.score.figures.rows import Row
    from logitpipe.stages.score.protocols import Protocol


class Results:
    """Figures of methods at temperatures on stores; `lp.score` computes them, `lp.load_results` reads them.

    Parameters
    ----------
    arranged : rows, curves and histograms, by data set and store
    benchmarks : the benchmarks' own figures as records
    parts : what a run has in memory to be saved; None for results that lie in a folder already
    """

    def __init__(self, arranged: "JoinedResults", benchmarks: "Records", parts: "Unsaved | None" = None) -> None:
        self._arranged, self._benchmarks, self._parts = arranged, benchmarks, parts

    @cached_property
    def rows(self) -> "tuple[Row, ...]":
        """All rows, by data set, store, method and rising temperature."""
        entries = self._arranged.entries
        return tuple(row for entry in entries for series in entry.series for row in series.rows)

    @property
    def frame(self) -> "pandas.DataFrame":
        """A row for each store, method and temperature; figures are fractions, as in results.csv.

        Examples
        --------
        >>> results.frame.pivot_table("auprc", "method", "network")
        """
        from logitpipe.results.columns import columns

        return frame_of(columns(self.rows))

    def to_xarray(self) -> "xarray.Dataset":
        """Return the same along the one dimension `row`, with what tells rows apart as coordinates."""
        from logitpipe.results.arrays import figures_dataset

        return figures_dataset(self.rows)

    def best(self, metric: str = "auprc", by: str | Sequence[str] = "dataset") -> "pandas.DataFrame":
        """Return the row with the best figure of each group, chosen by the labels that the figure is of.

        Parameters
        ----------
        metric : auprc, fpr95, auroc, f1 or iou
        by : one or several columns: `dataset`, `network`, `method`, ...

        Examples
        --------
        >>> results.best(by=["dataset", "network"])[["dataset", "network", "method", "temperature", "auprc"]]
        """
        from logitpipe.tables.metrics import metrics_named

        (chosen,) = metrics_named([metric])
        names, frame = [by] if isinstance(by, str) else list(by), self.frame
        if strange := [name for name in names if name not in frame]:
            raise UsageError(f"there is no column {strange[0]!r}; there are {', '.join(frame)}", option="by")
        # A group without any figure would be an error of pandas, and has no best row.
        known = frame.dropna(subset=[chosen.field]).groupby(names, sort=False)[chosen.field]
        return frame.loc[known.idxmax() if chosen.better is max else known.idxmin()].reset_index(drop=True)

    def table(
        self,
        metrics: Sequence[str] = ("auprc", "fpr95"),
        temperature: Temperature = 1.0,
        decimals: int = 2,
        intervals: bool = False,
    ) -> PrintedTable:
        """Return the table that papers print: networks and methods down, data sets across, per cent.

        Parameters
        ----------
        metrics : columns of each data set: auprc, fpr95, auroc, f1, iou
        temperature : of the methods that have one, or `best`: of each method's best AuPRC, chosen on these labels
        decimals : of a per cent, at most; no digit is printed that the bounds of a figure leave open
        intervals : whether confidence intervals of 95 % stand beside the figures, by a bootstrap over images

        Examples
        --------
        >>> print(results.table(metrics=["auprc", "fpr95"], temperature="best"))
        >>> print(results.table().to_latex())
        """
        from logitpipe.tables.metrics import metrics_named
        from logitpipe.tables.paper import no_interval, paper_table
        from logitpipe.tables.uncertainty.intervals import interval_words

        words = interval_words(self._arranged, temperature, decimals) if intervals else no_interval
        return PrintedTable([paper_table(self._arranged, metrics_named(metrics), temperature, decimals, words)])

    def compare(
        self, metric: str = "auprc", temperature: Temperature = 1.0, against: str | None = None, decimals: int = 2
    ) -> PrintedTable:
        """Return which methods and networks differ from one of them by more than chance, for each data set.

        Parameters
        ----------
        metric : auprc, fpr95 or auroc
        temperature : as for `table`
        against : METHOD or NETWORK:METHOD; None: the best of each data set
        decimals : of a per cent

        Raises
        ------
        PipeError
            There are no histograms of single images, or no such row.

        Examples
        --------
        >>> print(results.compare(against="enet:msp"))
        """
        from logitpipe.results.per_image.sampling import sampled_by_dataset
        from logitpipe.tables.uncertainty.differences import compared

        every = sampled_by_dataset(self._arranged, temperature)
        return PrintedTable([compared(name, each, metric, against, False, decimals) for name, each in every.items()])

    @property
    def components(self) -> "pandas.DataFrame | None":
        """Figures of components, where `also` asked for them (docs/metrics.md)."""
        return self._family("components")

    @property
    def closed_set(self) -> "pandas.DataFrame | None":
        """Closed-set figures and calibration, where `also` asked for them."""
        return self._family("closed_set")

    @property
    def open_set(self) -> "pandas.DataFrame | None":
        """Figures of the open set, where `also` asked for them."""
        return self._family("open_set")

    @property
    def transfer(self) -> "pandas.DataFrame | None":
        """Figures at thresholds that other data sets chose, where `also` asked for them."""
        return self._family("transfer")

    def save(self, path: str | PathLike[str], overwrite: bool = False) -> None:
        """Write the files that `pipe score --out` writes: the commands and `lp.load_results` read them.

        Raises
        ------
        PipeError
            Results lie there and are not to be replaced, the folder cannot be written, or these results were loaded.

        Examples
        --------
        >>> results.save("results")
        """
        from logitpipe.console.output import prepare_folder, refuse_to_replace
        from logitpipe.results.benchmarks import FILES as OF_BENCHMARKS
        from logitpipe.results.columns import FILES
        from logitpipe.results.writing import write_results

        if self._parts is None:
            lie = ", ".join(str(run.folder) for run in self._arranged.runs)
            raise UsageError(f"these results were loaded, and lie in {lie}")
        folder = Path(path)
        refuse_to_replace((folder / name for name in (*FILES, *OF_BENCHMARKS)), overwrite)
        prepare_folder(folder)
        rows, sketches, settings, images = self._parts
        write_results(folder, rows, sketches, settings, images, self._benchmarks, overwrite)

    def report(self, path: str | PathLike[str], overwrite: bool = False, progress: bool | None = None) -> Path:
        """Write the page of `pipe report`, and return where it lies.

        Parameters
        ----------
        path : the page to write; its gallery is drawn as long as the stores can still be read
        overwrite : replace what is there
        progress : see `lp.score`

        Raises
        ------
        PipeError
            The page cannot be written.

        Examples
        --------
        >>> results.report("report.html")
        """
        from logitpipe.report.writing import write_report

        with followed(progress):
            write_report(self._arranged, Path(path), overwrite)
        return Path(path)

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        stores = len(self._arranged.entries)
        return f"<Results: {len(self)} rows of {stores} stores on {', '.join(self._arranged.datasets)}>"

    def _repr_html_(self) -> str:
        from logitpipe.tables.comparison import comparison_tables, summarised

        return PrintedTable(comparison_tables(summarised(self.rows)))._repr_html_()

    def _family(self, name: str) -> "pandas.DataFrame | None":
        if name not in self._benchmarks:
            return None
        records = self._benchmarks[name]
        columns = dict.fromkeys(key for record in records for key in record)
        return frame_of({column: [record.get(column) for record in records] for column in columns})


Unsaved = tuple["Sequence[Row]", Sequence[Any], Mapping[str, Any], "Sequence[ImageCounts]"]
"""Rows, sketches, settings and histograms of single images, as `write_results` takes them."""


def load_results(*paths: str | PathLike[str]) -> Results:
    """Read results that `pipe score --out` or `Results.save` wrote; several folders are joined.

    Raises
    ------
    PipeError
        In one of them there are none, or they are damaged.

    Examples
    --------
    >>> results = lp.load_results("results")
    """
    from logitpipe.results.benchmarks import read_benchmarks
    from logitpipe.results.reading import read_results

    folders = [Path(path) for path in paths]
    if not folders:
        raise UsageError("at least one folder of results is expected")
    return Results(read_results(folders), read_benchmarks(folders))


def joined(
    rows: "Sequence[Row]",
    sketches: "Sequence[Sketch]",
    settings: Mapping[str, Any],
    protocol: "Protocol",
    images: "Sequence[ImageCounts]",
    benchmarks: "Records",
) -> Results:
    """Return the results of a run that lie in memory; parameters as those of `write_results`."""
    from logitpipe.results.benchmarks import rows_of
    from logitpipe.results.series import Run, arranged

    run, counts = Run(None, settings["run"], protocol, rows_of(benchmarks)), tuple(images)
    drawn = [(row, sketch, (counts, i)) for i, (row, sketch) in enumerate(zip(rows, sketches, strict=True))]
    return Results(arranged([(run, drawn)]), benchmarks, (rows, sketches, settings, images))
