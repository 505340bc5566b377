"""Scenes without an anomaly as batches, drawn as they are needed: none is seen twice."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from logitpipe.demo.scenes.scene import draw_scene
from logitpipe.stages.streams import ahead

SEEDS_OF_A_TRAINING = 10_000_000
HELD_OUT = 1_000_000_000
"""The first seed of the scenes that measure a training; no training with a seed below 100 gets there."""


Batch = tuple[Tensor, Tensor]
"""Images, float32 [B, 3, H, W] in 0..1, and their classes, int64 [B, H, W], 255 where void."""


def batches(seed: int, size: int) -> Iterator[Batch]:
    """Yield batches of so many scenes, without end; a thread draws the next ones meanwhile."""
    first = seed * SEEDS_OF_A_TRAINING
    seeds = (range(start, start + size) for start in count(first, size))
    with ThreadPoolExecutor(1) as pool:
        yield from ahead(pool, batch, seeds, depth=2)


def reduced(scenes: Batch, factor: int) -> Batch:
    """Return scenes at 1 / `factor` of their size: means of the pictures' pixels, the classes in their middles."""
    images, classes = scenes
    middle = factor // 2
    return functional.avg_pool2d(images, factor), classes[:, middle::factor, middle::factor]


def batch(seeds: Sequence[int]) -> Batch:
    """Draw the scenes of these seeds."""
    scenes = [draw_scene(seed, anomalies=False) for seed in seeds]
    images = torch.from_numpy(np.stack([scene.image for scene in scenes])).permute(0, 3, 1, 2)
    classes = torch.from_numpy(np.stack([scene.classes for scene in scenes]))
    return images.contiguous(memory_format=torch.channels_last).float().div_(255), classes.long()
