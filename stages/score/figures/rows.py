"""Counts into rows of figures, one for each store, method and temperature."""

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from logitpipe.cache import Schema
from logitpipe.cache.files.places import Place
from logitpipe.stages.score.figures.metrics import Figures
from logitpipe.stages.score.plan import Pair, Plan


@dataclass(frozen=True, kw_only=True)
class Identity:
    """What was scored, and how: the part of a row of any figures that tells it from others.

    Parameters
    ----------
    parameters : of the method, such as `gamma=0.1`
    temperature : None for a method that temperature does not change
    map_temperature, mask_temperature : divide the class map of a mask network and its mask logits; None for a method
        that has none
    statistics : SHA-256 of the file of `pipe fit` that the method has used; empty for most
    """

    store: str
    network: str
    kind: str
    dataset: str
    protocol: str
    method: str
    parameters: str = ""
    temperature: float | None
    map_temperature: float | None = None
    mask_temperature: float | None = None
    statistics: str = ""


@dataclass(frozen=True, kw_only=True)
class Row(Identity):
    """The figures of one method at one temperature on one store, fractions from 0 to 1.

    A figure that does not exist (no anomalous or no normal pixel) is None. Thresholds, also those of `iou`, are in
    the unit that scores are pooled in: that of the formula or, where the protocol brings scores to 0..1 in each
    image, that. `fpr95_threshold` is that of a TPR of 95 %, `best_iou` the best mean of both classes' IoU.
    """

    auprc: float | None
    auprc_lower: float | None
    auprc_upper: float | None
    fpr95: float | None
    fpr95_lower: float | None
    fpr95_upper: float | None
    fpr95_threshold: float | None
    auroc: float | None
    auroc_lower: float | None
    auroc_upper: float | None
    best_f1: float | None
    best_f1_lower: float | None
    best_f1_upper: float | None
    best_f1_threshold: float | None
    best_iou: float | None
    best_iou_threshold: float | None
    iou: list[dict[str, float | None]]
    images: int
    pixels: int
    positives: int


def identity(row: Identity) -> dict[str, Any]:
    """Return what was scored, and how, for other figures of the same scores."""
    return {field.name: getattr(row, field.name) for field in fields(Identity)}


def pair_of(row: Identity) -> Pair:
    """Return the pair that a row is of."""
    return Pair(row.method, row.temperature, row.parameters, row.map_temperature, row.mask_temperature)


BOUNDED = ("auprc", "fpr95", "auroc", "best_f1")
"""Figures of a row that have resolution bounds: `NAME_lower` and `NAME_upper` beside `NAME`."""

THRESHOLDS = ("fpr95_threshold", "best_f1_threshold", "best_iou_threshold")

DECIMALS = 3
"""Of a per cent, in tables."""


def printed(fraction: float) -> str:
    """Return a fraction as tables print it, per cent."""
    return f"{100 * fraction:.{DECIMALS}f}"


def is_open(row: Row, name: str) -> bool:
    """Return whether the bounds of a figure print otherwise than one another: its last digit is not certain."""
    lower, upper = getattr(row, f"{name}_lower"), getattr(row, f"{name}_upper")
    return lower is not None and printed(lower) != printed(upper)


def has_open_digit(row: Row) -> bool:
    """Return whether any figure's last printed digit is not certain."""
    return any(is_open(row, name) for name in BOUNDED)


def distance_to_rounding(fraction: float) -> float:
    """Return how far a fraction is from the nearest one at which its last printed digit changes."""
    unit = 10.0 ** -(DECIMALS + 2)
    return abs(fraction / unit % 1 - 0.5) * unit


def narrowed(row: Row, other: Row) -> Row:
    """Return a row of what two rows know together, of the same scores counted in different bins."""
    found: dict[str, Any] = {}
    for name in BOUNDED:
        ends = [tuple(getattr(each, f"{name}{end}") for end in ("_lower", "_upper")) for each in (row, other)]
        if None in ends[0]:
            continue
        (low, high), (other_low, other_high) = ends
        better = other if other_high - other_low < high - low else row
        # Both contain the figure, and so does what they have in common.
        low, high = max(low, other_low), min(high, other_high)
        found |= {name: min(max(getattr(better, name), low), high), f"{name}_lower": low, f"{name}_upper": high}
        found |= (
            {f"{name}_threshold": getattr(better, f"{name}_threshold")} if f"{name}_threshold" in THRESHOLDS else {}
        )
    # What is the best over the edges of bins is nearest to the best over all scores where it is the greatest.
    for name in ("best_f1", "best_iou"):
        better = max(row, other, key=lambda each: getattr(each, name) or 0.0)
        found[f"{name}_threshold"] = getattr(better, f"{name}_threshold")
    return replace(row, **found, best_iou=better.best_iou)


def make_row(
    store: Place,
    plan: Plan,
    pair: int,
    figures: Figures | None,
    iou: list[dict[str, float | None]],
    pixels: np.ndarray,
    images: int,
) -> Row:
    """Return the figures of one pair with all that they are of.

    Parameters
    ----------
    store : path or URL of what was counted
    plan, pair : the index of the pair in the plan
    figures : what was found; None where there are no anomalous or no normal pixels
    iou : of each threshold of the plan
    pixels : int64 (2,), all normal and anomalous pixels
    images : number of images counted
    """
    schema, chosen, (N, P) = plan.schema, plan.pairs[pair], (int(n) for n in pixels)
    return Row(
        store=str(store),
        network=schema.network,
        kind=schema.kind,
        dataset=dataset_name(schema),
        protocol=plan.protocol.name,
        method=chosen.method,
        temperature=chosen.temperature,
        parameters=chosen.parameters,
        map_temperature=chosen.map_temperature,
        mask_temperature=chosen.mask_temperature,
        statistics=plan.digest(chosen),
        iou=iou,
        images=images,
        pixels=N + P,
        positives=P,
        **_columns(plan, pair, figures),
    )


def with_figures(row: Row, plan: Plan, pair: int, figures: Figures) -> Row:
    """Return a row of a pair with other figures, of the same pixels."""
    return replace(row, **_columns(plan, pair, figures))


def _columns(plan: Plan, pair: int, figures: Figures | None) -> dict[str, Any]:
    """Return figures, bounds and thresholds by the names that they have in a row."""
    if figures is None:
        # None and not 0: a figure that does not exist must not enter a mean.
        names = (*(f"{name}{end}" for name in BOUNDED for end in ("", "_lower", "_upper")), *THRESHOLDS, "best_iou")
        return dict.fromkeys(names)
    bounded = {
        "auprc": figures.auprc,
        "fpr95": figures.fpr95,
        "auroc": figures.auroc,
        "best_f1": figures.best_f1.value,
    }
    columns: dict[str, Any] = {name: figure.value for name, figure in bounded.items()}
    columns |= {f"{name}_lower": figure.lower for name, figure in bounded.items()}
    columns |= {f"{name}_upper": figure.upper for name, figure in bounded.items()}
    ranks = np.array([figures.fpr95_threshold, figures.best_f1.threshold, figures.best_iou.threshold], np.float32)
    # Scores that a protocol brought to 0..1 are pooled so: they are no ranks to be taken back to the formula.
    scores = ranks if plan.pools_scores(plan.pairs[pair].method) else plan.formula(plan.pairs[pair], ranks)
    thresholds = [float(score) if np.isfinite(score) else None for score in scores]
    return columns | {"best_iou": figures.best_iou.value.value} | dict(zip(THRESHOLDS, thresholds, strict=True))


def dataset_name(schema: Schema) -> str:
    """Return the name of a data set and, where only some of its pictures were taken, which: `Tiny (the first 2)`."""
    parts = [schema.selection] if schema.selection else []
    parts += [f"the first {schema.limit}"] if schema.limit else []
    return f"{schema.dataset} ({', '.join(parts)})" if parts else schema.dataset
