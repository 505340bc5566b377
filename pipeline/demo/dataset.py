"""Scenes as files, in the layout of the real data sets."""

from pathlib import Path

import numpy as np
from PIL import Image

from logitpipe.demo.scenes.scene import draw_scene

NAME = "DemoScenes"
COUNT = 40
WEIGHTS = Path(__file__).parent / "weights"
"""Holds NETWORK.safetensors, trained on scenes without an anomaly; its README.md says how."""


def write_scenes(root: Path) -> Path:
    """Write the data set DemoScenes below `root` and return its folder; files that are there already stay.

    The scene of seed N becomes `images/NN.png` and `labels_masks/NN.png`, with the codes 0 normal, 1 anomaly and
    255 void. OSError where they cannot be written.
    """
    folder = root / NAME
    for kind in ("images", "labels_masks"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    for seed in range(COUNT):
        image, mask = (folder / kind / f"{seed:02}.png" for kind in ("images", "labels_masks"))
        if not (image.exists() and mask.exists()):
            scene = draw_scene(seed, anomalies=True)
            _write(image, scene.image)
            _write(mask, scene.anomaly)
    return folder


def _write(path: Path, pixels: np.ndarray) -> None:
    """Write a PNG under a hidden name and rename it, so that no half of it is ever taken for a picture."""
    part = path.with_name(f".{path.name}.part")
    Image.fromarray(pixels).save(part, format="png")
    part.replace(path)
