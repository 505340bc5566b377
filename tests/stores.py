"""Small stores of noise, made without a network."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from logitpipe.cache import Schema, StoreWriter
from logitpipe.cache.format import version1, version2
from logitpipe.cache.format.geometry import Geometry
from logitpipe.cache.format.schema import Kind, Precision

SIZE = (8, 12)
LABEL_SIZE = (12, 16)
WINDOWS = ((0, 0, 8, 12), (0, 5, 8, 17))


def make_schema(
    kind: Kind,
    precision: Precision = "float16",
    images: Sequence[str] = ("a.png", "b.png", "c.png"),
    version: int = 1,
    windows: int = 1,
) -> Schema:
    """Describe a store: pixel with 4 classes and void, or mask with 5 queries and 4 classes, and perhaps windows."""
    classes = ("road", "car", "sky", "tree")
    pixel = kind == "pixel"
    common: dict[str, Any] = {
        "kind": kind,
        "network": "enet" if pixel else "eomt",
        "facts": {},
        "weights_sha256": "00" * 32,
        "dataset": "Tiny",
        "classes": (*classes, "void") if pixel else classes,
        "void_class": 4 if pixel else None,
        "input_size": SIZE,
        "logits_shape": (5, *SIZE),
        "precision": precision,
        "preprocessing": {},
        "images": tuple(images),
        "label_shape": LABEL_SIZE,
        "software": {},
    }
    if version == 1:
        return version1.Schema(**common)
    return version2.Schema(
        layout="anomaly",
        label_codes=None,
        closed_set_codes=None,
        selection=None,
        limit=None,
        outlier_class=None,
        sigmoid_at=None if pixel else "masks" if windows == 1 else "window",
        windows=windows,
        preview_size=((SIZE[0] + 1) // 2, (SIZE[1] + 1) // 2),
        chunk_rows=3,
        **common,
    )


def geometry_of(schema: Schema) -> Geometry | None:
    """The geometry of each image: None, or two windows that overlap."""
    if getattr(schema, "windows", 1) == 1:
        return None
    height, width = SIZE
    preview = (height + 1) // 2, (width + 1) // 2
    return Geometry(LABEL_SIZE, (height, WINDOWS[-1][3]), SIZE, SIZE, LABEL_SIZE, preview, WINDOWS)


def noise_values(schema: Schema, image: int, codes: Sequence[int], scale: float = 3.0) -> dict[str, np.ndarray]:
    """Make arrays of one image from noise whose seed is the image; `scale` is the spread of its logits."""
    noise = np.random.default_rng(image)
    labels = noise.choice(np.array(codes, np.uint8), LABEL_SIZE)
    values: dict[str, np.ndarray] = {"labels": labels}
    for name, spec in schema.arrays().items():
        if "logits" in name:
            shape = spec.read_shape
            if spec.windowed and geometry_of(schema):
                shape = len(WINDOWS), *shape
            values[name] = (scale * noise.standard_normal(shape)).astype(spec.dtype)
    values["preview"] = noise.integers(0, 256, schema.preview_shape, dtype=np.uint8)
    return values


def fill(
    path: Path,
    schema: Schema,
    images: Sequence[int] | None = None,
    codes: Sequence[int] = (0, 1, 255),
    scale: float = 3.0,
) -> Path:
    """Commit images of noise (all of them, unless named) to a store at `path`."""
    writer = StoreWriter(path, schema)
    for image in range(len(schema.images)) if images is None else images:
        writer.commit(image, noise_values(schema, image, codes, scale), {}, geometry_of(schema))
    return path
