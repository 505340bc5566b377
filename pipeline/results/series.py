"""Results as tables and pages take them: data sets, the stores over each, and the methods of each store."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from logitpipe.results.benchmarks import Benchmarks
from logitpipe.results.columns import method_label
from logitpipe.results.per_image.histograms import Origin
from logitpipe.stages.score.figures.curves import Sketch
from logitpipe.stages.score.figures.rows import Row
from logitpipe.stages.score.methods import CORE
from logitpipe.stages.score.protocols import Protocol


@dataclass(frozen=True)
class Run:
    """One call of `pipe score --out`.

    Parameters
    ----------
    folder : where its results are; None where they are in memory alone
    record : what was run, as `record.describe_run` wrote it down
    protocol : how its stores were scored
    benchmarks : what `--also` has added to it
    """

    folder: Path | None
    record: dict[str, Any]
    protocol: Protocol
    benchmarks: Benchmarks = field(default_factory=Benchmarks)


@dataclass(frozen=True)
class Series:
    """One method on one store.

    Parameters
    ----------
    method : its name, with its parameters and the temperatures that are the same in all rows
    rows, sketches : figures and curves by rising temperature; one where no temperature matters
    origins : where each row comes from, for its histograms of single images
    """

    method: str
    rows: tuple[Row, ...]
    sketches: tuple[Sketch, ...]
    origins: tuple[Origin, ...]

    @property
    def tempered(self) -> bool:
        """Whether temperature changes the method."""
        return self.rows[0].temperature is not None

    @property
    def best(self) -> int:
        """The index of the row with the highest AuPRC: the first of equals, 0 where there is no AuPRC."""
        return max(range(len(self.rows)), key=lambda i: (self.rows[i].auprc or 0.0, -i))

    @property
    def plain(self) -> int | None:
        """The index of the row at T = 1, or of the only row; None where neither was scored."""
        return 0 if len(self.rows) == 1 else self.at(1.0)

    @property
    def shown(self) -> int:
        """The index of the row whose scores are drawn: at T = 1, which no label chose, or else at the best."""
        return self.best if self.plain is None else self.plain

    def at(self, temperature: float) -> int | None:
        """Return the index of the row at a temperature; the only one of a method that temperature does not change."""
        if not self.tempered:
            return 0
        return next((i for i, row in enumerate(self.rows) if row.temperature == temperature), None)


@dataclass(frozen=True)
class Entry:
    """One store under one protocol.

    Parameters
    ----------
    label : tells it from the other stores over the same data set
    run : in which it was scored
    facts : its part of the record of the run
    series : its methods
    """

    label: str
    run: Run
    facts: dict[str, Any]
    series: tuple[Series, ...]

    def only(self, core: bool) -> "Entry | None":
        """Return the store with its methods of the core, or with all others; None where there are none of these.

        A method of the core with parameters, or at another T_S or T_m than 1, is one of the others.
        """
        some = tuple(s for s in self.series if (s.method in CORE) == core)
        return replace(self, series=some) if some else None

    @property
    def row(self) -> Row:
        """Any of its rows, for what they all share."""
        return self.series[0].rows[0]


@dataclass(frozen=True)
class JoinedResults:
    """What one or several runs of scores left, by data set and store.

    Parameters
    ----------
    runs : one for each folder
    datasets : the stores over each data set, by its name; where there are several protocols, by both names
    """

    runs: tuple[Run, ...]
    datasets: dict[str, list[Entry]]

    @property
    def entries(self) -> list[Entry]:
        """All stores."""
        return [entry for entries in self.datasets.values() for entry in entries]

    @property
    def temperatures(self) -> list[float]:
        """All temperatures, rising."""
        rows = (row for entry in self.entries for series in entry.series for row in series.rows)
        return sorted({row.temperature for row in rows if row.temperature is not None})


Drawn = tuple[Row, Sketch, Origin]
"""A row, what is drawn of it, and where it comes from."""


def arranged(parts: Sequence[tuple[Run, Sequence[Drawn]]]) -> JoinedResults:
    """Join runs. Of a row that several have, the last one counts; a store that two have scored is one entry.

    Raises
    ------
    KeyError
        A row is of a store that the record of its run does not know.
    """
    # Figures of two protocols answer two questions and must not share a table: each gets data sets of its own.
    protocols = {run.protocol.name for run, _ in parts}
    found: dict[tuple[str, str], dict[tuple[object, ...], Drawn]] = {}
    facts: dict[tuple[str, str], tuple[Run, dict[str, Any]]] = {}
    for run, drawn in parts:
        stores = {store["store"]: store for store in run.record["stores"]}
        for row, sketch, origin in drawn:
            store = stores[row.store]
            name = row.dataset if len(protocols) == 1 else f"{row.dataset}, protocol {row.protocol}"
            # Path as well as fingerprint: two copies of one store are two entries, one store scored twice is one.
            at = name, f"{store['fingerprint']} {store['path']}"
            facts[at] = run, store
            # Overwrites the row of an earlier run: the folders come in the order in which they were named.
            found.setdefault(at, {})[_key(row)] = row, sketch, origin
    datasets: dict[str, list[Entry]] = {}
    for (name, store_key), of_store in found.items():
        run, store = facts[name, store_key]
        datasets.setdefault(name, []).append(Entry("", run, store, _all_series(list(of_store.values()))))
    return JoinedResults(tuple(run for run, _ in parts), {name: _labelled(each) for name, each in datasets.items()})


def _key(row: Row) -> tuple[object, ...]:
    return method_label(row), row.temperature


def _all_series(drawn: Sequence[Drawn]) -> tuple[Series, ...]:
    methods: dict[str, list[Drawn]] = {method_label(row): [] for row, _, _ in drawn}
    # A method without temperature has one row, so that any number serves.
    for each in sorted(drawn, key=lambda each: each[0].temperature or 0.0):
        methods[method_label(each[0])].append(each)
    return tuple(Series(name, *map(tuple, zip(*own, strict=True))) for name, own in methods.items())


def _labelled(entries: Sequence[Entry]) -> list[Entry]:
    """Name each store by as little as tells it from the others: network, file, path, folder of results."""
    names: list[Callable[[Entry], str]] = [
        lambda entry: entry.row.network,
        lambda entry: f"{entry.row.network} ({Path(entry.row.store).name})",
        lambda entry: f"{entry.row.network} ({entry.row.store})",
        lambda entry: f"{entry.row.network} ({entry.row.store}, {entry.run.folder or 'in memory'})",
    ]
    counts = [Counter(map(name, entries)) for name in names]

    def label(entry: Entry) -> str:
        # The first, shortest name that no other entry has; where none is unique the longest is taken.
        alone = (name(entry) for name, count in zip(names, counts, strict=True) if count[name(entry)] == 1)
        return next(alone, names[-1](entry))

    return [replace(entry, label=label(entry)) for entry in entries]
