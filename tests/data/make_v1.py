"""How the stores of `tests/data/v1` were made, once: `PYTHONPATH=.:tests python tests/data/make_v1.py FOLDER`.

They are format version 1 as it was first written, and tests read them for ever. Never make them anew: a store that
the code of today has written says nothing about those that people have. A change of the format gets a folder of its
own beside them, and this script, which then no longer gives the same, stays as it is or goes.
"""

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np

from logitpipe.cache import Schema, Store, StoreWriter, open_store
from logitpipe.cache.format import version1
from logitpipe.stages.score.passes.exact import exact_rows
from logitpipe.stages.score.passes.sweep import tally_store
from logitpipe.stages.score.plan import make_plan
from logitpipe.stages.score.protocols import PROTOCOLS
from logitpipe.stages.score.statistics.histograms import make_rows

NAMES = ("0.png", "caf\u00e9 \u65e5\u672c.jpg", "../\x1b[31m\n.png")
LABEL_SIZES = ((12, 16), (11, 9), (7, 16))
FIGURES = ("auprc", "fpr95", "auroc", "best_f1")
COMMON = {
    "weights_sha256": "5eed" * 16,
    "dataset": "Old",
    "input_size": (8, 12),
    "preprocessing": {"resize": "none: noise"},
    "images": NAMES,
    "label_shape": (12, 16),
    "software": {"logitpipe": "0.1.0"},
}
STORES = {
    "pixel": version1.Schema(
        kind="pixel",
        network="enet",
        facts={"channels": 4},
        classes=("road", "car", "sky", "void"),
        void_class=3,
        logits_shape=(4, 8, 12),
        precision="float16",
        **COMMON,
    ),
    "mask": version1.Schema(
        kind="mask",
        network="eomt",
        facts={"queries": 5, "attn_mask_probs": [0.0, 0.0], "masked_attention": False},
        classes=("road", "car", "sky"),
        void_class=None,
        logits_shape=(5, 4, 6),
        precision="float32",
        **COMMON,
    ),
    # Two chunks, the second of which reaches past the edge.
    "tall": version1.Schema(
        kind="pixel",
        network="erfnet",
        facts={"channels": 2},
        classes=("road", "car"),
        void_class=None,
        logits_shape=(2, 1031, 1024),
        precision="float16",
        **COMMON | {"images": ("tall.png",)},
    ),
}


def values(schema: Schema, image: int) -> dict[str, np.ndarray]:
    """Return seeded noise; that of the tall store repeats itself, and so is small on disk."""
    noise = np.random.default_rng(image)
    arrays = {
        name: (3 * noise.standard_normal(spec.image_shape)).astype(spec.dtype)
        for name, spec in schema.arrays().items()
        if "logits" in name
    }
    if schema.network == "erfnet":
        arrays["logits"] = np.repeat(np.arange(2062) % 7, 1024).reshape(schema.logits_shape).astype(np.float16)
    arrays["labels"] = noise.choice(np.array([0, 1, 2, 255], np.uint8), LABEL_SIZES[image])
    arrays["preview"] = noise.integers(0, 256, schema.preview_shape, dtype=np.uint8)
    return arrays


def figures(store: Store) -> Iterator[dict[str, object]]:
    """Yield what scikit-learn says of every method under every protocol."""
    images = store.completed()
    for protocol in PROTOCOLS.values():
        plan = make_plan(store.schema, protocol, None, (0.5, 1.0))
        rows = make_rows(store, plan, tally_store(store, plan, images, 1, lambda: None))
        for row in map(asdict, exact_rows(store, plan, images, rows, lambda: None)):
            yield {name: row[name] for name in ("protocol", "method", "temperature", "pixels", "positives", *FIGURES)}


def expectations(store: Store) -> dict[str, object]:
    """Return what must be read of a store: digests of the values, some of them in plain, and figures."""
    records = [store.record(image) for image in store.completed()]
    first = next(name for name in store.arrays if "logits" in name)
    return {
        "fingerprint": store.fingerprint,
        "attributes": store.schema.attributes(),
        "label_sizes": [store.labels(image).shape for image in store.completed()],
        "sha256": [{name: array.sha256 for name, array in record.arrays.items()} for record in records],
        "first_values": store.read(first, 0).reshape(-1)[:8].tolist(),
        # The tall store's few different logits give scores so near each other that their order is the machine's.
        "figures": [] if store.schema.network == "erfnet" else list(figures(store)),
    }


def main(folder: Path) -> None:
    """Write the stores and, beside them, what is to be read of them."""
    found = {}
    for name, schema in STORES.items():
        writer = StoreWriter(folder / name, schema)
        for image in range(len(schema.images)):
            writer.commit(image, values(schema, image), {"image_sha256": f"{image}" * 64, "mask_sha256": "0" * 64})
        found[name] = expectations(open_store(folder / name))
    (folder / "expected.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
