"""Closed-set figures of a store whose masks name classes, at every temperature, in one walk."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from logitpipe.cache import PipeError, Store
from logitpipe.stages.score.figures.closed_set import ClosedSetFigures
from logitpipe.stages.score.figures.rows import dataset_name
from logitpipe.stages.score.labels.codes import resize_nearest
from logitpipe.stages.score.labels.spaces import NO_CLASS, LabelSpace
from logitpipe.stages.score.passes.walk import Walk, walk
from logitpipe.stages.score.protocols import Protocol
from logitpipe.stages.score.statistics.class_counts import ClassCounts


@dataclass(frozen=True)
class ClosedSetRow:
    """The closed-set figures of one store at one temperature.

    Parameters
    ----------
    label_space, classes : its name, and the names of its classes
    temperature : of the class logits
    least_nll : whether no other temperature of the run has a smaller NLL
    """

    store: str
    network: str
    kind: str
    dataset: str
    protocol: str
    label_space: str
    classes: tuple[str, ...]
    temperature: float
    least_nll: bool
    images: int
    figures: ClosedSetFigures


class ClassTruth:
    """Classes of the images of a store, at the evaluation size of a protocol (see `ground_truth.Truth`).

    Parameters
    ----------
    store, protocol : what is scored and how
    table : uint8 (256,), of `LabelSpace.table`
    """

    def __init__(self, store: Store, protocol: Protocol, table: np.ndarray) -> None:
        self.store, self.protocol, self.table = store, protocol, table

    def labels(self, image: int) -> np.ndarray | None:
        """Return uint8 (H, W) classes, NO_CLASS where a pixel has none; None for a picture without a mask."""
        codes, schema = self.store.labels(image), self.store.schema
        if codes.size == 0:
            return None
        # As in `GroundTruth`: all figures of a protocol are evaluated at one size.
        if schema.kind == "pixel" and self.protocol.pixel_size == "network":
            codes = resize_nearest(codes, self.store.image(image).resized)
        return self.table[codes]


def class_table(store: Store, space: LabelSpace, codes: Mapping[str, int]) -> np.ndarray:
    """Return the class of each code of the masks of a store: uint8 (256,).

    Raises
    ------
    PipeError
        The masks name no class of the label space, or its classes are not those of the network.
    """
    # Called for its error alone: a network without these classes is refused before any walk.
    space.channels(store.schema)
    table = space.table(codes)
    if (table == NO_CLASS).all():
        raise PipeError(
            f"{store.path}: closed-set figures need masks that name classes, and those of {store.schema.dataset} "
            f"name none of the label space {space.name}",
            "class-codes",
        )
    return table


def closed_set_rows(
    store: Store,
    protocol: Protocol,
    space: LabelSpace,
    codes: Mapping[str, int],
    temperatures: Sequence[float],
    images: Sequence[int],
    workers: int,
    advance: Callable[[], None],
    walker: Walk = walk,
) -> list[ClosedSetRow]:
    """Return the figures at each temperature.

    Parameters
    ----------
    codes : name of a class of the data set -> its code in the masks
    images : indices, all of them committed
    workers : threads
    advance : called once for each image, in this thread
    walker : who does the walk

    Raises
    ------
    IntegrityError
        An image is damaged.
    PipeError
        As for `class_table`.
    """
    table, (channels, groups) = class_table(store, space, codes), space.channels(store.schema)
    statistic = ClassCounts(channels, groups, len(space.classes), tuple(temperatures))
    total = walker(ClassTruth(store, protocol, table), images, statistic, workers, advance)
    found, schema = statistic.finish(total), store.schema
    least = min((each.nll for each in found if each.nll is not None), default=None)
    return [
        ClosedSetRow(
            str(store.path),
            schema.network,
            schema.kind,
            dataset_name(schema),
            protocol.name,
            space.name,
            space.classes,
            T,
            figures.nll is not None and figures.nll == least,
            total.images,
            figures,
        )
        for T, figures in zip(temperatures, found, strict=True)
    ]
