"""Figures of the benchmarks, computed in addition to those of pixels."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from logitpipe.cache.errors import PipeError, UsageError
from logitpipe.console.messages import caution, note
from logitpipe.console.progress import Progress

if TYPE_CHECKING:
    from logitpipe.cache.reading.store import Store
    from logitpipe.results.benchmarks import Record, Records
    from logitpipe.stages.score.figures.rows import Row
    from logitpipe.stages.score.passes.closed_set import ClosedSetRow
    from logitpipe.stages.score.passes.components import ComponentRow
    from logitpipe.stages.score.passes.open_set import OpenSetRow
    from logitpipe.stages.score.passes.transfer import TransferRow
    from logitpipe.stages.score.passes.walk import Walk
    from logitpipe.stages.score.plan import Plan
    from logitpipe.tables.table import Table

Found = TypeVar("Found")

FAMILIES = ("components", "closed-set", "open-set", "transfer")
SPACES = ("own", "cityscapes", "macro", "common")


def require_families(names: Sequence[str]) -> tuple[str, ...]:
    """Return families of figures, each once; UsageError for one that does not exist."""
    for name in names:
        if name not in FAMILIES:
            raise UsageError(f"{name!r} is none of {', '.join(FAMILIES)}", option="also")
    return tuple(dict.fromkeys(names))


@dataclass(frozen=True)
class Also:
    """The benchmarks' own figures of a run; None of a family that nobody asked for."""

    components: "list[ComponentRow] | None" = None
    closed_set: "list[ClosedSetRow] | None" = None
    open_set: "list[OpenSetRow] | None" = None
    transfer: "list[TransferRow] | None" = None

    def records(self) -> "Records":
        """Return the rows as records for JSON and CSV, by family."""
        from logitpipe.results.benchmarks import (
            closed_set_record,
            component_record,
            open_set_record,
            transfer_record,
        )

        record_of: dict[str, Callable[[Any], Record]] = {
            "components": component_record,
            "closed_set": closed_set_record,
            "open_set": open_set_record,
            "transfer": transfer_record,
        }
        asked_for = {name: rows for name in record_of if (rows := getattr(self, name)) is not None}
        return {name: list(map(record_of[name], rows)) for name, rows in asked_for.items()}

    def tables(self, rows: "Sequence[Row]", summary: bool = False) -> "list[Table]":
        """Return the tables of all families, for printing.

        Parameters
        ----------
        rows : the figures of pixels of the same run
        summary : whether to leave out temperatures but T = 1 and those of the best AuPRC and of the least NLL
        """
        from logitpipe.stages.score.figures.rows import identity, pair_of
        from logitpipe.tables.benchmarks import closed_set_tables, component_tables, open_set_tables
        from logitpipe.tables.comparison import summarised
        from logitpipe.tables.thresholds import transfer_tables
        from logitpipe.tables.uncertainty.fitted import fitted_tables

        components, closed, opened = self.components or (), self.closed_set or (), self.open_set or ()
        moved = self.transfer or ()
        fitted = fitted_tables(closed, rows)
        if summary:
            shown = [identity(row) for row in summarised(rows)]
            components = [row for row in components if identity(row) in shown]
            closed = [row for row in closed if row.temperature == 1 or row.least_nll]
            opened = [row for row in opened if identity(row) in shown]
            # What is shown of one data set is shown of all, or the table would have holes.
            pairs = {(row.network, pair_of(row)) for row in summarised(rows)}
            moved = [row for row in moved if (row.network, pair_of(row)) in pairs]
        tables = [*component_tables(components), *closed_set_tables(closed), *fitted, *open_set_tables(opened)]
        return [*tables, *transfer_tables(moved)]


def class_codes(text: str | None, store: "Store") -> Mapping[str, int]:
    """Return the code of each class by its name: what a text says, or else the store.

    Raises
    ------
    UsageError
        The text has another form.
    """
    from logitpipe.stages.classes import CLASS_CODES

    if text is None:
        # Stores of format version 1 have no such attribute, hence getattr.
        codes: Mapping[str, int] | None = getattr(store.schema, "closed_set_codes", None)
        return codes or {}
    if text in CLASS_CODES:
        return CLASS_CODES[text]
    pairs = [part.rpartition("=") for part in text.split(",")]
    for name, _, code in pairs:
        if not (name and code.isdecimal() and int(code) <= 255):
            raise UsageError(
                f"train-ids, label-ids or road=0,sidewalk=1,... is expected, found {text!r}", option="class_codes"
            )
    return {name.strip(): int(code) for name, _, code in pairs}


def refuse(
    families: Sequence[str], plans: "Sequence[tuple[Store, Plan]]", label_space: str, codes: str | None
) -> None:
    """Say which figures cannot be computed, before any image is scored.

    Raises
    ------
    PipeError
        The masks of no store name classes of the label space, or no network has them; or no network has stores over
        two data sets, of which one could choose a threshold for the other.
    """
    if "transfer" in families:
        _refuse_transfer(plans)
    if "closed-set" not in families:
        return
    faults = [(store, fault) for store, _ in plans if (fault := _fault(store, label_space, codes))]
    # One store with such figures is worth a run; what the others lack is said before it begins.
    if len(faults) == len(plans):
        raise faults[0][1]
    for _, fault in faults:
        caution(f"{fault}; its closed-set figures are left out")


def _refuse_transfer(plans: "Sequence[tuple[Store, Plan]]") -> None:
    if plans[0][1].protocol.pooling == "images":
        raise UsageError("where figures are means over images, no threshold is that of a data set", option="also")
    networks = [_network(store) for store, _ in plans]
    datasets = {(network, store.schema.dataset) for network, (store, _) in zip(networks, plans, strict=True)}
    if len(datasets) == len(set(networks)):
        raise UsageError("transfer needs stores of one network over two data sets or more", option="also")


def _network(store: "Store") -> tuple[object, ...]:
    """Return what the stores of one network have in common."""
    from logitpipe.results.selection import identity_of

    return identity_of(store.schema.network, store.schema.attributes())


def _fault(store: "Store", label_space: str, codes: str | None) -> PipeError | None:
    """Return why a store has no closed-set figures, None where it has."""
    from logitpipe.stages.score.labels.spaces import label_space as space_named
    from logitpipe.stages.score.passes.closed_set import class_table

    # The table is built for its errors alone and thrown away; the real one is built when the figures are.
    known = class_codes(codes, store)
    try:
        class_table(store, space_named(label_space, store.schema), known)
    except PipeError as error:
        return error
    return None


def compute(
    families: Sequence[str],
    scored: "Sequence[tuple[Store, Plan, Sequence[Row]]]",
    label_space: str,
    codes: str | None,
    workers: int,
    walker: "Walk",
) -> Also:
    """Return the families of figures that are asked for, of all stores.

    Parameters
    ----------
    scored : each store with its plan and the rows of its sweep
    walker : who does the walks, see `cluster.walk_by`
    """

    def every(family: str, rows_of: "Callable[[Store, Plan, Sequence[Row]], list[Found]]") -> "list[Found] | None":
        """Return the rows of a family for all stores; None where nobody asked for it."""
        return [row for one in scored for row in rows_of(*one)] if family in families else None

    def sources(store: "Store") -> "list[Sequence[Row]]":
        """Return the rows of all stores of its network, which choose thresholds for one another."""
        return [rows for other, _, rows in scored if _network(other) == _network(store)]

    return Also(
        every("components", lambda store, plan, rows: _components(store, plan, rows, workers, walker)),
        every("closed-set", lambda store, plan, _: _closed_set(store, plan, label_space, codes, workers, walker)),
        every(
            "open-set", lambda store, plan, rows: _open_set(store, plan, rows, label_space, codes, workers, walker)
        ),
        every("transfer", lambda store, plan, rows: _transfer(store, plan, rows, sources(store), workers, walker)),
    )


def _components(
    store: "Store", plan: "Plan", rows: "Sequence[Row]", workers: int, walker: "Walk"
) -> "list[ComponentRow]":
    from logitpipe.stages.score.passes.components import component_rows, component_walks

    images = store.completed()
    readings = (len(component_walks(plan, len(images))) + 1) * len(images)
    with Progress(
        f"components of {store.schema.network} on {store.schema.dataset}", readings, unit="readings"
    ) as bar:
        return component_rows(store, plan, images, rows, workers, bar.advance, walker)


def _closed_set(
    store: "Store", plan: "Plan", label_space: str, codes: str | None, workers: int, walker: "Walk"
) -> "list[ClosedSetRow]":
    from logitpipe.stages.score.labels.spaces import label_space as space_named
    from logitpipe.stages.score.passes.closed_set import closed_set_rows

    if _fault(store, label_space, codes):  # `refuse` has said so, before the run began
        return []
    images, schema = store.completed(), store.schema
    space, known = space_named(label_space, schema), class_codes(codes, store)
    with Progress(f"closed set of {schema.network} on {schema.dataset}", len(images), unit="images") as bar:
        return closed_set_rows(
            store, plan.protocol, space, known, plan.temperatures, images, workers, bar.advance, walker
        )


def _open_set(
    store: "Store",
    plan: "Plan",
    rows: "Sequence[Row]",
    label_space: str,
    codes: str | None,
    workers: int,
    walker: "Walk",
) -> "list[OpenSetRow]":
    from logitpipe.stages.score.labels.spaces import label_space as space_named
    from logitpipe.stages.score.passes.open_set import open_set_readings, open_set_rows

    images, schema = store.completed(), store.schema
    space, known = space_named(label_space, schema), class_codes(codes, store)
    if not known:
        note(f"{store.path}: the masks of {schema.dataset} name no classes, so that open-mIoU is left out")
    readings = open_set_readings(plan, known) * len(images)
    with Progress(f"open set of {schema.network} on {schema.dataset}", readings, unit="readings") as bar:
        return open_set_rows(store, plan, space, known, images, rows, workers, bar.advance, walker)


def _transfer(
    store: "Store",
    plan: "Plan",
    rows: "Sequence[Row]",
    sources: "Sequence[Sequence[Row]]",
    workers: int,
    walker: "Walk",
) -> "list[TransferRow]":
    from logitpipe.stages.score.passes.transfer import transfer_rows

    images, schema = store.completed(), store.schema
    with Progress(
        f"thresholds of others for {schema.network} on {schema.dataset}", len(images), unit="images"
    ) as bar:
        return transfer_rows(store, plan, images, rows, sources, workers, bar.advance, walker)
