"""How the stores of `tests/data/v2` were made, once: `PYTHONPATH=.links:tests python tests/data/make_v2.py FOLDER`.

They are format version 2 as it was first written, and tests read them for ever. Never make them anew: a store that
the code of today has written says nothing about those that people have.
"""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from logitpipe.cache import Schema, StoreWriter, open_store
from logitpipe.cache.format import version2
from logitpipe.cache.format.codec import xxh3
from logitpipe.cache.format.geometry import Geometry

NAMES = ("0.png", "caf\u00e9 \u65e5\u672c.jpg", "../\x1b[31m\n.png")
COMMON: dict[str, Any] = {
    "weights_sha256": "5eed" * 16,
    "dataset": "Golden",
    "layout": "course",
    "label_codes": "normal=0,anomaly=1-2,void=255",
    "closed_set_codes": {"road": 7},
    "selection": "noise",
    "limit": 3,
    "classes": ("road", "car", "sky", "void", "outlier"),
    "void_class": 3,
    "outlier_class": 4,
    "preprocessing": {"resize": "short:8", "mean": [0.5, 0.25, 0.125], "std": [1, 1, 1], "range": 255},
    "input_size": (8, 12),
    "logits_shape": (5, 8, 12),
    "label_shape": (12, 16),
    "preview_size": (4, 6),
    "chunk_rows": 3,
    "images": NAMES,
    "software": {"logitpipe": "0.2.0"},
}
STORES: dict[str, Schema] = {
    "pixel": version2.Schema(
        kind="pixel", network="erfnet", facts={}, precision="float16", windows=1, sigmoid_at=None, **COMMON
    ),
    "mask": version2.Schema(
        kind="mask",
        network="eomt",
        facts={"queries": 5},
        precision="float32",
        windows=3,
        sigmoid_at=(8, 12),
        **COMMON,
    ),
}
WHOLE = (0, 0, 8, 12)
GEOMETRIES = (
    Geometry((12, 16), (8, 12), (8, 12), (8, 12), (12, 16), (4, 6), (WHOLE,)),
    Geometry((9, 10), (5, 7), (6, 8), (3, 4), (9, 10), (3, 4), ((0, 0, 5, 7),)),
    Geometry((24, 32), (8, 11), (8, 12), (4, 6), (0, 0), (4, 6), ((0, 0, 8, 8), (0, 1, 8, 9), (0, 3, 8, 11))),
)


def geometries(schema: Schema) -> list[Geometry]:
    """Return the geometry of each image: pixel networks have one window."""
    one = [Geometry(**{**asdict(each), "windows": each.windows[:1]}) for each in GEOMETRIES]
    return one if schema.kind == "pixel" else list(GEOMETRIES)


def values(schema: Schema, image: int, geometry: Geometry) -> dict[str, np.ndarray]:
    """Return seeded noise of an image's own sizes."""
    noise = np.random.default_rng(image)
    made = {}
    for name, spec in schema.arrays().items():
        extent = schema.extent(name, geometry)
        if "logits" in name:
            made[name] = (3 * noise.standard_normal(extent)).astype(spec.dtype)
    made["labels"] = noise.choice(np.array([0, 1, 2, 255], np.uint8), geometry.labels)
    made["preview"] = noise.integers(0, 256, (*geometry.preview, 3), dtype=np.uint8)
    return made


def main(folder: Path) -> None:
    """Write the stores and, beside them, what is to be read of them."""
    found = {}
    for name, schema in STORES.items():
        writer, digests = StoreWriter(folder / name, schema), []
        for image, geometry in enumerate(geometries(schema)):
            arrays = values(schema, image, geometry)
            writer.commit(image, arrays, {"image_sha256": f"{image}" * 64}, geometry)
            digests.append({array: xxh3(part) for array, part in arrays.items()})
        store = open_store(folder / name)
        found[name] = {
            "attributes": store.schema.attributes(),
            "images": list(store.schema.images),
            "geometries": [asdict(geometry) for geometry in geometries(schema)],
            "xxh3_128": digests,
        }
    (folder / "expected.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
