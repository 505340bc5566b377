"""Small stores, plans and scores for the tests of the scoring stage."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numba
import numpy as np

from logitpipe.cache import Schema, Store, StoreWriter, open_store
from logitpipe.cache.format import version1
from logitpipe.stages.score.figures.metrics import Curve
from logitpipe.stages.score.figures.rows import Row
from logitpipe.stages.score.kernels.counting.bins import Bins
from logitpipe.stages.score.kernels.counting.counts import CARRY, Counts
from logitpipe.stages.score.kinds import KINDS
from logitpipe.stages.score.methods import METHODS
from logitpipe.stages.score.methods.method import OfImage
from logitpipe.stages.score.passes.sweep import tally_store
from logitpipe.stages.score.plan import Plan, make_plan
from logitpipe.stages.score.protocols import PROTOCOLS, Protocol
from logitpipe.stages.score.statistics.histograms import make_rows
from tests.reference import Scene

Values = dict[str, np.ndarray]
TEMPERATURES = (0.05, 0.1, 0.5, 1.0, 2.0, 10.0, 100.0)
EVERY = [
    (kind, name)
    for kind, methods in METHODS.items()
    for name, method in methods.items()
    if not (isinstance(method.computed, OfImage) or method.needs == "statistics")
]
"""All pairs of kind and method, but for those that need a whole image or in-distribution statistics."""


def describe(
    values: Values, names: Sequence[str] = ("0.png",), void: int | None = None, dataset: str = "Tiny", **facts: object
) -> Schema:
    """The schema of a store for images whose logits have the shapes of these."""
    kind = "pixel" if "logits" in values else "mask"
    logits = values.get("logits", values.get("mask_logits"))
    channels = logits.shape[0] if kind == "pixel" else values["class_logits"].shape[1] - 1
    plain = {
        "kind": kind,
        "network": "fake",
        "facts": {},
        "weights_sha256": "0" * 64,
        "dataset": dataset,
        "classes": tuple(f"class {c}" for c in range(channels)),
        "void_class": void,
        "input_size": (8, 8),
        "logits_shape": logits.shape,
        "precision": logits.dtype.name,
        "preprocessing": {},
        "images": tuple(names),
        "label_shape": (8, 8),
        "software": {},
    }
    return version1.Schema(**plain | facts)


def write_store(path: Path, scenes: Sequence[Scene], void: int | None = None, dataset: str = "Tiny") -> Store:
    """Commit scenes to a new store, in their order."""
    label_shape = tuple(int(n) for n in np.max([scene.codes.shape for scene in scenes], axis=0))
    names = [scene.name for scene in scenes]
    writer = StoreWriter(path, describe(scenes[0].values, names, void, dataset, label_shape=label_shape))
    preview = np.zeros(writer.schema.preview_shape, np.uint8)
    for image, scene in enumerate(scenes):
        writer.commit(image, {**scene.values, "labels": scene.codes, "preview": preview}, {})
    return open_store(path)


def random_values(noise: np.random.Generator, kind: str, planes: int, size: tuple[int, int], K: int = 4) -> Values:
    """Logits with the spread of real ones: `planes` channels, or so many queries over K classes."""
    if kind == "pixel":
        return {"logits": noise.normal(0, 5, (planes, *size)).astype(np.float32)}
    masks, classes = noise.normal(-2, 4, (planes, *size)), noise.normal(0, 3, (planes, K + 1))
    return {"mask_logits": masks.astype(np.float32), "class_logits": classes.astype(np.float32)}


def made_scenes(
    kind: str, change: Callable[[np.ndarray], np.ndarray] = lambda logits: logits, size: tuple[int, int] = (60, 80)
) -> list[Scene]:
    """Three scenes at the size of their masks, their logits changed by a function."""
    noise, scenes = np.random.default_rng(0), []
    for image in range(3):
        values = {name: change(array) for name, array in random_values(noise, kind, 6, size).items()}
        codes = noise.choice(np.array([0, 1, 255], np.uint8), size, p=(0.7, 0.2, 0.1))
        scenes.append(Scene(f"{image}.png", values, codes))
    return scenes


def plan_for(
    values: Values,
    methods: Sequence[str] | None = None,
    temperatures: Sequence[float] = (1.0,),
    protocol: Protocol = PROTOCOLS["standard"],
    void: int | None = None,
    **temperatures_of_masks: Sequence[float],
) -> Plan:
    """A plan for logits of these shapes; of all methods of EVERY where none is named."""
    schema = describe(values, void=void)
    wanted = [name for kind, name in EVERY if kind == schema.kind] if methods is None else methods
    return make_plan(schema, protocol, wanted, temperatures, **temperatures_of_masks)


def all_ranks(plan: Plan, values: Values, size: tuple[int, int]) -> dict[int, np.ndarray]:
    """The ranks (H, W) of every pair of a plan, by its index."""
    kind = plan.schema.kind
    maps = KINDS[kind].prepare([values]).rank_maps(plan, range(len(plan.pairs)), size)
    return {pair: ranks.copy() for pair, ranks in maps}


def score_store(store: Store, plan: Plan, workers: int = 1) -> list[Row]:
    """The figures of all committed images of a store."""
    tally = tally_store(store, plan, store.completed(), workers, lambda: None)
    return make_rows(store, plan, tally)


def compiled(kernel: Callable[..., object]) -> Callable[..., object]:
    """Return a kernel as a function by itself: kernels are compiled as parts of what calls them."""
    return numba.njit(lambda *given: kernel(*given))


def no_counts(places: int) -> Counts:
    """An empty histogram."""
    return Counts(np.zeros(places, np.uint8), np.zeros(places, np.uint32))


def whole(counts: Counts) -> np.ndarray:
    """The counts of a histogram as integers."""
    return counts.low + int(CARRY) * counts.carries.astype(np.int64)


def curve_of(histogram: np.ndarray, bins: Bins | None = None) -> Curve:
    """The curve of integers (2, bins), normal and anomalous pixels; without `bins` a bin's edge is its number."""
    found = np.flatnonzero(histogram.any(axis=0))[::-1]
    p, n = histogram[1, found].astype(np.int64), histogram[0, found].astype(np.int64)
    lows = found.astype(np.float32) if bins is None else bins.lower_edges(found)
    return Curve(found, p, n, p + n == 1, lows)
