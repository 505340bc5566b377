"""Scenes as files, in the layout of the real data sets."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from logitpipe.demo.scenes.scene import draw_scene

NAME = "DemoScenes"
COUNT = 40

CLOSED = ("DemoFit", "DemoStreets")
"""Streets without anomalies, whose masks name 19 classes: to choose a temperature on, and to judge it on."""

CLOSED_COUNT = 8
CLOSED_SEED = 1_000_000_000
"""Of the first of these scenes; no training sees scenes from here on."""

WEIGHTS = Path(__file__).parent / "weights"
"""Holds NETWORK.safetensors, trained on scenes without an anomaly; its README.md says how."""


def write_scenes(root: Path, advance: Callable[[], None] = lambda: None, count: int | None = None) -> Path:
    """Write the data set DemoScenes below `root` and return its folder; files that are there already stay.

    `advance` is called after each scene; `count` is how many there are, COUNT if None.

    The scene of seed N becomes `images/NN.png` and `labels_masks/NN.png`, with the codes 0 normal, 1 anomaly and
    255 void. OSError where they cannot be written.
    """
    folder = root / NAME
    for kind in ("images", "labels_masks"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    for seed in range(COUNT if count is None else count):
        image, mask = (folder / kind / f"{seed:02}.png" for kind in ("images", "labels_masks"))
        if not (image.exists() and mask.exists()):
            scene = draw_scene(seed, anomalies=True)
            _write(image, scene.image)
            _write(mask, scene.anomaly)
        advance()
    return folder


def write_streets(root: Path) -> list[Path]:
    """Write the data sets of CLOSED below `root`, as Cityscapes' archives unpack, and return their folders.

    Masks hold Cityscapes' train ids, 255 is void. Files that are there already stay; OSError where they cannot be
    written.
    """
    folders = [root / name for name in CLOSED]
    for first, folder in zip((CLOSED_SEED, CLOSED_SEED + CLOSED_COUNT), folders, strict=True):
        for number in range(CLOSED_COUNT):
            stem = f"drawn_{number:06}_000000"
            image = folder / "leftImg8bit/val/drawn" / f"{stem}_leftImg8bit.png"
            mask = folder / "gtFine/val/drawn" / f"{stem}_gtFine_labelTrainIds.png"
            if not (image.exists() and mask.exists()):
                scene = draw_scene(first + number, anomalies=False)
                for file, pixels in ((image, scene.image), (mask, scene.classes)):
                    file.parent.mkdir(parents=True, exist_ok=True)
                    _write(file, pixels)
    return folders


def _write(path: Path, pixels: np.ndarray) -> None:
    """Write a PNG under a hidden name and rename it, so that no half of it is ever taken for a picture."""
    part = path.with_name(f".{path.name}.part")
    Image.fromarray(pixels).save(part, format="png")
    part.replace(path)
