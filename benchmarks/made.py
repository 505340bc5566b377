"""Stores made for measuring: smooth logits with an anomaly in every mask, of the sizes that real networks give."""

from pathlib import Path

import numpy as np
from PIL import Image

from logitpipe.cache import Schema, StoreWriter
from logitpipe.cache.format import version1

CLASSES = 19
MASK_SIZE = (720, 1280)
PIXEL_SIZE = (512, 1024)
QUERY_SIZE = (160, 320)
QUERIES = 100
FULL_SIZE = (1024, 2048)
VOID = 0.05
"""The share of a mask that is void, unless said otherwise."""


def pixel_store(path: Path, images: int, void: float = VOID) -> Path:
    """Make a store of 20 channels at 512x1024 with masks of 720x1280, a share of them void; return its path."""
    schema = _schema("pixel", images, (CLASSES + 1, *PIXEL_SIZE), MASK_SIZE)
    writer = StoreWriter(path, schema)
    for image in range(images):
        noise = np.random.default_rng(image)
        logits = 4 * smooth(noise, (CLASSES + 1, 32, 64), PIXEL_SIZE) + 0.3 * _grain(
            noise, (CLASSES + 1, *PIXEL_SIZE)
        )
        _commit(writer, image, {"logits": logits.astype(np.float16)}, void)
    return path


def mask_store(path: Path, images: int) -> Path:
    """Make a store of 100 queries at 160x320 with masks of 1024x2048; return its path."""
    writer = StoreWriter(path, _schema("mask", images, (QUERIES, *QUERY_SIZE), FULL_SIZE))
    for image in range(images):
        noise = np.random.default_rng(image)
        mask_logits = 8 * smooth(noise, (QUERIES, 10, 20), QUERY_SIZE) - 6
        class_logits = noise.standard_normal((QUERIES, CLASSES + 1)).astype(np.float32)
        class_logits[np.arange(QUERIES), noise.integers(0, CLASSES + 1, QUERIES)] += 6
        _commit(writer, image, {"mask_logits": mask_logits.astype(np.float16), "class_logits": class_logits})
    return path


def smooth(noise: np.random.Generator, coarse: tuple[int, int, int], size: tuple[int, int]) -> np.ndarray:
    """Return normal noise on a coarse grid (C, h, w), stretched to float32 (C, H, W)."""
    planes = noise.standard_normal(coarse).astype(np.float32)
    return np.stack(
        [np.asarray(Image.fromarray(plane).resize(size[::-1], Image.Resampling.BICUBIC)) for plane in planes]
    )


def _grain(noise: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return noise.standard_normal(shape, np.float32)


def _schema(kind: str, images: int, logits_shape: tuple[int, int, int], label_shape: tuple[int, int]) -> Schema:
    names = tuple(f"class {k}" for k in range(CLASSES)) + (("void",) if kind == "pixel" else ())
    return version1.Schema(
        kind=kind,  # type: ignore[arg-type]
        network="made",
        facts={},
        weights_sha256="00" * 32,
        dataset="Made",
        classes=names,
        void_class=CLASSES if kind == "pixel" else None,
        input_size=PIXEL_SIZE,
        logits_shape=logits_shape,
        precision="float16",
        preprocessing={},
        images=tuple(f"{i}.png" for i in range(images)),
        label_shape=label_shape,
        software={},
    )


def _commit(writer: StoreWriter, image: int, logits: dict[str, np.ndarray], void: float = VOID) -> None:
    """Add labels, an ellipse of anomaly with void on both sides, and a grey preview."""
    height, width = writer.schema.label_shape
    y, x = np.mgrid[:height, :width]
    labels = (((y / height - 0.6) / 0.2) ** 2 + ((x / width - 0.5) / 0.15) ** 2 < 1).astype(np.uint8)
    labels[np.abs(x / width - 0.5) > (1 - void) / 2] = 255
    preview = np.full(writer.schema.preview_shape, 128, np.uint8)
    writer.commit(image, logits | {"labels": labels, "preview": preview}, {})
