"""Scores of images that were cut into windows, or padded, against float64 at full size."""

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from reference import formula, mix, upsample
from scipy.special import expit, softmax
from scoring import EVERY, Values, plan_for
from stores import make_schema

from logitpipe.cache import StoreWriter, open_store
from logitpipe.cache.format.geometry import Box, Geometry, Size
from logitpipe.cache.format.version2 import SigmoidAt
from logitpipe.stages.score.kinds import KINDS
from logitpipe.stages.score.methods import METHODS
from logitpipe.stages.score.methods.method import OfQueries
from logitpipe.stages.score.passes.sweep import tally_store
from logitpipe.stages.score.plan import make_plan
from logitpipe.stages.score.protocols import PROTOCOLS

QUERIES, CLASSES = 5, 4
MAPS = [
    name
    for name, method in METHODS["mask"].items()
    if isinstance(method.computed, OfQueries) or name in ("eam", "void", "rba-normalized")
]
"""Methods that are planes of their own: computed where M is, then resampled as S is."""


def geometry(picture: Size, resized: Size, padded: Size, logits: Size, windows: Sequence[Box] = ()) -> Geometry:
    """The geometry of an image whose mask is of the picture's size."""
    return Geometry(picture, resized, padded, logits, picture, (1, 1), tuple(windows) or ((0, 0, *padded),))


WIDE = geometry((18, 40), (24, 53), (24, 24), (6, 6), [(0, 0, 24, 24), (0, 14, 24, 38), (0, 29, 24, 53)])
UPRIGHT = geometry((45, 20), (54, 24), (24, 24), (6, 6), [(0, 0, 24, 24), (15, 0, 39, 24), (30, 0, 54, 24)])
TILES = geometry((30, 34), (30, 34), (16, 24), (8, 8), [(t, x, t + 16, x + 24) for t in (0, 14) for x in (0, 10)])
# Windows in any order, of which those that begin in one row do not reach across the picture in all of their rows.
UNEVEN = geometry((20, 34), (24, 48), (24, 28), (6, 7), [(0, 24, 12, 48), (0, 0, 24, 24), (12, 20, 24, 48)])
SQUARE = geometry((20, 20), (24, 24), (24, 24), (6, 6))
PADDED = geometry((23, 31), (23, 31), (32, 32), (8, 8))
SHRUNK = geometry((33, 41), (20, 25), (24, 32), (6, 8))
LARGE = {
    # More rows than fit a band, so that bands have to meet.
    "large": geometry((180, 320), (256, 455), (256, 256), (64, 64), [(0, 0, 256, 256), (0, 199, 256, 455)]),
}
IMAGES = {
    "wide": WIDE,
    "upright": UPRIGHT,
    "tiles": TILES,
    "uneven": UNEVEN,
    "square": SQUARE,
    "padded": PADDED,
    "shrunk": SHRUNK,
}


def noise(image: Geometry, seed: int = 0) -> list[Values]:
    """Mask logits and class logits of each window."""
    rng = np.random.default_rng(seed)
    return [
        {
            "mask_logits": (4 * rng.standard_normal((QUERIES, *image.logits)) - 1).astype(np.float16),
            "class_logits": (3 * rng.standard_normal((QUERIES, CLASSES + 1))).astype(np.float32),
        }
        for _ in image.windows
    ]


def averaged(image: Geometry, planes: Sequence[np.ndarray]) -> np.ndarray:
    """The average on the resized picture of planes that are of the windows' size."""
    total, count = np.zeros((len(planes[0]), *image.resized)), np.zeros(image.resized)
    for each, (top, left, bottom, right) in zip(planes, image.windows, strict=True):
        part = total[:, top:bottom, left:right]
        part += each[:, : part.shape[1], : part.shape[2]]
        count[top:bottom, left:right] += 1
    return total / count


def expected(image: Geometry, windows: Sequence[Values], method: str, T: float, at: SigmoidAt) -> np.ndarray:
    """The scores of a method, as upstream would compute them."""
    parts = []
    for each in windows:
        logits, z = each["mask_logits"].astype(np.float64), each["class_logits"].astype(np.float64)
        if at == "window":
            logits = upsample(logits, image.padded)
        elif at == "picture":
            height, width = image.resized
            logits = upsample(upsample(logits, image.padded)[:, :height, :width], image.picture)
        elif at != "masks":
            logits = upsample(logits, at)
        P, M = softmax(z / T, axis=1), expit(logits)
        if method in MAPS:
            parts.append(formula("mask", method, P=P, M=M)[None])
        else:
            parts.append(mix((z if method in ("maxlogit", "raw-msp") else P)[:, :-1], M))
    if at == "picture":
        planes = parts[0]
    elif len(parts) == 1 and image.padded == image.resized:
        planes = upsample(parts[0], image.picture)
    else:
        planes = upsample(averaged(image, [upsample(each, image.padded) for each in parts]), image.picture)
    return planes[0] if method in MAPS else formula("mask", method, S=planes, Z=planes, T_S=1.0)


def scores(image: Geometry, windows: Sequence[Values], at: SigmoidAt, T: float) -> dict[str, np.ndarray]:
    """The scores of every method."""
    plan = plan_for(windows[0], temperatures=(T,))
    maps = KINDS["mask"].prepare(windows, image, at).rank_maps(plan, range(len(plan.pairs)), image.picture)
    return {plan.pairs[i].method: plan.formula(plan.pairs[i], ranks) for i, ranks in maps}


@pytest.mark.parametrize("at", ["masks", "window", "picture", (10, 12)])
@pytest.mark.parametrize("name", IMAGES)
def test_scores_are_those_at_full_size(name: str, at: SigmoidAt) -> None:
    """Windows are averaged as S, padding is cut off, and M is computed where it should be."""
    image = IMAGES[name]
    if at == "picture" and len(image.windows) > 1:
        return
    windows, T = noise(image), 0.7
    found = scores(image, windows, at, T)
    assert sorted(found) == sorted(method for kind, method in EVERY if kind == "mask")
    for method, ours in found.items():
        reference = expected(image, windows, method, T, at)
        assert ours.shape == image.picture
        assert np.abs(ours - reference).max() <= 1e-5 * max(1, np.abs(reference).max()), method


def test_rows_of_a_large_image_meet() -> None:
    """An image of more rows than one band has the same scores."""
    image = LARGE["large"]
    windows = noise(image)
    for at in ("masks", "window"):
        ours = scores(image, windows, at, 1.0)
        for method in ("mask2anomaly", "rba-normalized"):
            assert np.abs(ours[method] - expected(image, windows, method, 1.0, at)).max() < 1e-5


@pytest.mark.parametrize("at", ["masks", "window"])
def test_any_number_of_workers_counts_the_same(tmp_path: Path, at: SigmoidAt) -> None:
    """Workers share images and, where there are more of them than images, the temperatures of one."""
    images = {"a.png": WIDE, "b.png": UPRIGHT, "c.png": SQUARE}
    schema = replace(
        make_schema("mask", version=2, images=list(images), windows=3),
        logits_shape=(QUERIES, 6, 6),
        input_size=(24, 24),
        label_shape=(45, 40),
        preview_size=(1, 1),
    )
    writer = StoreWriter(tmp_path / "store", schema)
    for index, image in enumerate(images.values()):
        windows = noise(image, seed=index)
        values = {name: np.stack([each[name] for each in windows]) for name in windows[0]}
        if len(windows) == 1:
            values = windows[0]
        labels = (np.arange(image.labels[0] * image.labels[1]) % 3 == 0).astype(np.uint8).reshape(image.labels)
        writer.commit(index, values | {"labels": labels, "preview": np.zeros((1, 1, 3), np.uint8)}, {}, image)
    store = open_store(tmp_path / "store")
    protocol = replace(PROTOCOLS["standard"], sigmoid_at="masks" if at == "masks" else "network")
    plan = make_plan(store.schema, protocol, ["msp", "void", "rba-normalized"], [0.3, 0.7, 1.0, 2.0, 3.0])
    tallies = [tally_store(store, plan, store.completed(), workers, lambda: None) for workers in (1, 2, 4)]
    tallies.append(tally_store(store, plan, [0], 1, lambda: None))
    tallies.append(tally_store(store, plan, [0], 4, lambda: None))
    for one, other in ((0, 1), (0, 2), (3, 4)):
        for pair in range(len(plan.pairs)):
            a, b = tallies[one].curve(pair), tallies[other].curve(pair)
            assert all(map(np.array_equal, (a.bins, a.p, a.n), (b.bins, b.p, b.n)))
    assert tallies[0].pixels.sum() == sum(image.labels[0] * image.labels[1] for image in images.values())


MEASURED = """
import sys
from logitpipe.cli import cli
cli(sys.argv[1:], standalone_mode=False)
(peak,) = [line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")]
print(peak, file=sys.stderr)
"""
"""Ends in the peak of resident memory in KiB: of this program alone, where `getrusage` begins with its parent's."""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there is no /proc")
def test_two_windows_of_a_street_scene_fit_memory(tmp_path):
    """A canvas of 1024x2048 and 100 queries, whose M would take 800 MB, is scored in less than 1.5 GiB."""
    windows = ((0, 0, 1024, 1024), (0, 1024, 1024, 2048))
    image = Geometry((1024, 2048), (1024, 2048), (1024, 1024), (256, 256), (1024, 2048), (1, 1), windows)
    schema = replace(
        make_schema("mask", version=2, images=["a.png"], windows=2),
        classes=tuple(f"class {k}" for k in range(19)),
        logits_shape=(100, 256, 256),
        input_size=(1024, 1024),
        label_shape=(1024, 2048),
        preview_size=(1, 1),
    )
    rng = np.random.default_rng(0)
    values = {
        "mask_logits": np.repeat(rng.standard_normal((2, 100, 256, 1)).astype(np.float16), 256, axis=3),
        "class_logits": rng.standard_normal((2, 100, 20)).astype(np.float32),
        "labels": (np.arange(1024 * 2048) % 7 == 0).astype(np.uint8).reshape(1024, 2048),
        "preview": np.zeros((1, 1, 3), np.uint8),
    }
    StoreWriter(tmp_path / "store", schema).commit(0, values, {}, image)
    words = ["score", str(tmp_path / "store"), "--temperatures", "0.5,1", "--resolve", "none"]
    done = subprocess.run([sys.executable, "-c", MEASURED, *words], capture_output=True, text=True, check=True)
    assert "rba-normalized" in done.stdout
    assert int(done.stderr.splitlines()[-1]) < 1.5 * (1 << 20)
