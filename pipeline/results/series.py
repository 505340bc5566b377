"""Results as a page shows them: data sets, the stores over each, and the methods of each store."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from logitpipe.stages.score.figures.curves import Sketch
from logitpipe.stages.score.figures.rows import Row
from logitpipe.stages.score.protocols import Protocol


@dataclass(frozen=True)
class Series:
    """One method on one store.

    Parameters
    ----------
    method : its name
    rows, sketches : figures and curves by rising temperature; one where no temperature matters
    """

    method: str
    rows: tuple[Row, ...]
    sketches: tuple[Sketch, ...]

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
        if len(self.rows) == 1:
            return 0
        return next((i for i, row in enumerate(self.rows) if row.temperature == 1), None)

    @property
    def shown(self) -> int:
        """The index of the row whose scores are drawn: at T = 1, which no label chose, or else at the best."""
        return self.best if self.plain is None else self.plain


@dataclass(frozen=True)
class Entry:
    """One store of a run.

    Parameters
    ----------
    label : tells it from the other stores over the same data set
    facts : its part of the record of the run
    series : its methods
    """

    label: str
    facts: dict[str, Any]
    series: tuple[Series, ...]

    @property
    def row(self) -> Row:
        """Any of its rows, for what they all share."""
        return self.series[0].rows[0]


@dataclass(frozen=True)
class Results:
    """What `pipe score --out DIR` left.

    Parameters
    ----------
    run : the record of the run
    protocol : how the stores were scored
    datasets : the stores over each data set, by its name
    """

    run: dict[str, Any]
    protocol: Protocol
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


def arranged(rows: Sequence[Row], sketches: Sequence[Sketch], run: dict[str, Any]) -> dict[str, list[Entry]]:
    """Return the stores over each data set, from rows, the sketch of each, and the record of the run."""
    pairs = list(zip(rows, sketches, strict=True))
    facts = {store["store"]: store for store in run["stores"]}
    datasets: dict[str, list[Entry]] = {row.dataset: [] for row in rows}
    for store in dict.fromkeys(row.store for row in rows):
        own = [(row, sketch) for row, sketch in pairs if row.store == store]
        series = tuple(_series(method, own) for method in dict.fromkeys(row.method for row, _ in own))
        datasets[own[0][0].dataset].append(Entry("", facts[store], series))
    return {dataset: _labelled(entries) for dataset, entries in datasets.items()}


def _series(method: str, pairs: Sequence[tuple[Row, Sketch]]) -> Series:
    own = sorted(((r, s) for r, s in pairs if r.method == method), key=lambda pair: pair[0].temperature or 0.0)
    return Series(method, tuple(row for row, _ in own), tuple(sketch for _, sketch in own))


def _labelled(entries: Sequence[Entry]) -> list[Entry]:
    """Name each store by its network, and by its path too where two stores over one data set share that."""
    rows = [entry.row for entry in entries]
    networks = Counter(row.network for row in rows)
    files = Counter((row.network, Path(row.store).name) for row in rows)

    def label(row: Row) -> str:
        name = Path(row.store).name
        shown = name if files[row.network, name] == 1 else row.store
        return row.network if networks[row.network] == 1 else f"{row.network} ({shown})"

    return [replace(entry, label=label(row)) for entry, row in zip(entries, rows, strict=True)]
