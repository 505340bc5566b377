"""`pipe score` beside plain torch and scikit-learn: both kinds of network, then how it scales."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from benchmarks import made, plain
from benchmarks.real import DATASETS, real_folder, real_store
from benchmarks.sheet import Sheet
from benchmarks.timing import Seconds, median, one_core, ratio, take_turns
from logitpipe.cache import Store, open_store
from logitpipe.stages.score.figures.rows import Row
from logitpipe.stages.score.labels.ground_truth import GroundTruth
from logitpipe.stages.score.passes.sweep import tally_store
from logitpipe.stages.score.picture import Picture, read_picture
from logitpipe.stages.score.plan import make_plan
from logitpipe.stages.score.protocols import PROTOCOLS, Protocol, with_choices
from logitpipe.stages.score.statistics.histograms import make_rows
from logitpipe.stages.score.statistics.tally import Tally

SWEEP = tuple(float(T) for T in np.linspace(0.5, 2.4, 20).round(3))
AT_NETWORK = with_choices(PROTOCOLS["standard"], {"pixel-size": "network"})
"""All images, at the size of the network's input."""
PIXEL_METHODS = ("msp", "entropy", "energy")
IMAGES = 30
"""As many as Fishyscapes Static has."""
LOOP_IMAGES = 4
MASK_IMAGES = 2
ROUNDS = 3


def score(
    path: Path, protocol: Protocol, methods: Sequence[str], temperatures: Sequence[float], workers: int
) -> list[Row]:
    """Do all that `pipe score` does: open, read, decode, score, count, compute the figures."""
    store = open_store(path)
    plan = make_plan(store.schema, protocol, methods, temperatures)
    tally = tally_store(store, plan, store.completed(), workers, lambda: None)
    return make_rows(store, plan, tally, workers)


def counted_alone(path: Path) -> Callable[[], None]:
    """Return the scores of a few images in memory, counted: all that the kernels do."""
    store = open_store(path)
    plan = make_plan(store.schema, AT_NETWORK, PIXEL_METHODS, SWEEP)
    pictures, tally = _pictures(store), Tally.zero(plan)

    def run() -> None:
        for picture in pictures:
            picture.count(plan, range(len(plan.pairs)), tally.counts, tally.above)

    return run


def _pictures(store: Store) -> list[Picture]:
    """Read the first images with their labels at the network's size."""
    truth = GroundTruth(store, AT_NETWORK, store.completed())
    return [picture for i in range(LOOP_IMAGES) if (picture := read_picture(store, truth, i))]


def plain_pixel(path: Path) -> Callable[[], None]:
    """Return each method at one temperature over logits that are in memory already."""
    store = open_store(path)
    logits = [torch.from_numpy(store.read("logits", i)[: made.CLASSES].astype(np.float32)) for i in store.completed()]
    labels = [_nearest(store.labels(i), made.PIXEL_SIZE) for i in store.completed()]

    def run() -> None:
        for method in PIXEL_METHODS:
            plain.figures([plain.PIXEL[method](z, 1.3).numpy() for z in logits], labels)

    return run


def plain_mask(path: Path) -> Callable[[], None]:
    """Return each method at one temperature over mask logits and class logits that are in memory already."""
    store = open_store(path)
    inputs = [
        (
            torch.from_numpy(store.read("mask_logits", i).astype(np.float32)),
            torch.from_numpy(store.read("class_logits", i)),
        )
        for i in store.completed()
    ]
    labels = [store.labels(i) for i in store.completed()]

    def run() -> None:
        for method in plain.MASK.values():
            plain.figures([method(*z, 1.3, made.FULL_SIZE).numpy() for z in inputs], labels)

    return run


def measure_pixel(sheet: Sheet, path: Path, kind: str) -> None:
    """20 temperatures of three methods at the network's size, one core."""
    images, pairs = len(open_store(path).completed()), len(PIXEL_METHODS) * len(SWEEP)
    candidates: dict[str, Callable[[], object]] = {
        "pipe score": partial(score, path, AT_NETWORK, PIXEL_METHODS, SWEEP, 1),
        "its scores and counts alone": counted_alone(path),
        "torch + scikit-learn": plain_pixel(path),
    }
    with one_core(), threadpool_limits(1):
        seconds = take_turns(candidates, ROUNDS)
    image = made.PIXEL_SIZE[0] * made.PIXEL_SIZE[1]
    part = (pairs, LOOP_IMAGES)
    work = {"pipe score": (pairs, images), "its scores and counts alone": part}
    work["torch + scikit-learn"] = (len(PIXEL_METHODS), images)
    sweep = f"{', '.join(PIXEL_METHODS)} at {len(SWEEP)} temperatures"
    title = f"Pixel network: {sweep}, {images} images of 20x512x1024, {kind}, one core"
    sheet.table(title, PER_PAIR, _per_pair(seconds, work, image, "pipe score"))


def measure_mask(sheet: Sheet, folder: Path) -> None:
    """20 temperatures of all methods at 1024x2048, one core."""
    path, methods = made.mask_store(folder / "mask.zarr", MASK_IMAGES), tuple(plain.MASK)
    candidates: dict[str, Callable[[], object]] = {
        "pipe score": partial(score, path, PROTOCOLS["standard"], methods, SWEEP, 1),
        "torch + scikit-learn": plain_mask(path),
    }
    with one_core(), threadpool_limits(1):
        seconds = take_turns(candidates, ROUNDS)
    pairs = (len(methods) - 1) * len(SWEEP) + 1
    work = {"pipe score": (pairs, MASK_IMAGES), "torch + scikit-learn": (len(methods), MASK_IMAGES)}
    sweep = f"{len(methods)} methods at {len(SWEEP)} temperatures"
    title = f"Mask network: {sweep}, {MASK_IMAGES} images of 100 queries, masks 1024x2048, one core"
    image = made.FULL_SIZE[0] * made.FULL_SIZE[1]
    sheet.table(title, PER_PAIR, _per_pair(seconds, work, image, "pipe score"))


def measure_scaling(sheet: Sheet, folder: Path) -> None:
    """More images, more temperatures, more workers."""
    stores = {n: made.pixel_store(folder / f"pixel{n}.zarr", n) for n in (4, 8, 10, 16, 32, 100)}
    images = {str(n): partial(score, p, AT_NETWORK, PIXEL_METHODS, SWEEP, 1) for n, p in stores.items()}
    _scaling(sheet, "Images (pixel network, 20 temperatures, one worker)", "images", images)
    sweeps = {n: tuple(np.linspace(0.5, 2.4, n).round(4).tolist()) if n > 1 else (1.0,) for n in (1, 5, 20, 80)}
    temperatures = {str(n): partial(score, stores[4], AT_NETWORK, PIXEL_METHODS, s, 1) for n, s in sweeps.items()}
    _scaling(sheet, "Temperatures (pixel network, 4 images, one worker)", "temperatures", temperatures)
    voids = {v: made.pixel_store(folder / f"void{v}.zarr", 4, v) for v in (0.0, 0.5, 0.75, 0.9)}
    void = {f"{100 * v:.0f} %": partial(score, p, AT_NETWORK, PIXEL_METHODS, SWEEP, 1) for v, p in voids.items()}
    _scaling(sheet, "Void pixels (pixel network, 4 images, 20 temperatures, one worker)", "void", void)
    workers = _workers(partial(score, stores[32], AT_NETWORK, PIXEL_METHODS, SWEEP))
    _scaling(sheet, "Workers (pixel network, 32 images, 20 temperatures)", "workers", workers)
    mask, methods = made.mask_store(folder / "mask8.zarr", 8), tuple(plain.MASK)
    workers = _workers(partial(score, mask, PROTOCOLS["standard"], methods, SWEEP[::4]))
    _scaling(sheet, "Workers (mask network, 8 images, 5 temperatures)", "workers", workers)


def _workers(run: Callable[[int], object]) -> dict[str, Callable[[], object]]:
    def alone() -> None:
        with one_core():
            run(1)

    return {"1 on one core": alone, "1": partial(run, 1), "2": partial(run, 2)}


PER_PAIR = ("", "seconds", "pairs", "images", "ns per pixel and pair", "that over pipe score's")


def _per_pair(seconds: Seconds, work: dict[str, tuple[int, int]], pixels: int, ours: str) -> list[list[object]]:
    """Return a line for each candidate: `work` is its pairs and images, `pixels` are those of an image."""
    units = {name: pairs * images * pixels for name, (pairs, images) in work.items()}
    return [
        [name, median(seconds, name), *work[name], median(seconds, name) / units[name] * 1e9,
         ratio(seconds, name, ours) * units[ours] / units[name]]
        for name in seconds
    ]  # fmt: skip


def _scaling(sheet: Sheet, title: str, unit: str, candidates: Mapping[str, Callable[[], object]]) -> None:
    seconds = take_turns(candidates, ROUNDS)
    first = next(iter(candidates))
    lines = [[name, median(seconds, name), ratio(seconds, name, first)] for name in candidates]
    sheet.table(title, (unit, "seconds", f"over {first}"), lines)


def _nearest(labels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    rows, columns = (((np.arange(n) + 0.5) * m / n).astype(int) for m, n in zip(labels.shape, size, strict=True))
    return labels[rows[:, None], columns]


def main() -> None:
    """Measure, print and save."""
    sheet = Sheet("scoring")
    with tempfile.TemporaryDirectory() as folder:
        measure_pixel(sheet, made.pixel_store(Path(folder, "pixel.zarr"), IMAGES), "made logits")
        if real := real_folder():
            for name in DATASETS:
                store = real_store(real, Path(folder, f"{name}.zarr"), name)
                measure_pixel(sheet, store, f"real logits of ENet over {name}")
        measure_mask(sheet, Path(folder))
        measure_scaling(sheet, Path(folder))
    sheet.save()


if __name__ == "__main__":
    main()
