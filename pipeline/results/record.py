"""The record of a run of scores: command, versions, protocol, stores. `pipe report` prints it."""

import hashlib
import json
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from logitpipe.cache.reading.store import Store
    from logitpipe.stages.score.plan import Plan

PACKAGES = ("logitpipe", "numpy", "numba")
SOURCES = ("image_sha256", "mask_sha256")
"""What a completion record says of the files of its image; there is no mask's where there was none."""

OF_STORE = (
    "network",
    "kind",
    "facts",
    "weights_sha256",
    "dataset",
    "input_size",
    "precision",
    "preprocessing",
    "software",
    "fingerprint",
)
"""Attributes of a store that its figures depend on, or that tell where they come from."""


def describe_run(command: str, exact: bool, plans: "Sequence[tuple[Store, Plan]]") -> dict[str, Any]:
    """Return what was run, as JSON has it: command, time, versions, protocol with its fields, stores."""
    from logitpipe.stages.score.protocols import to_document

    return {
        "command": command,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {"python": platform.python_version()} | {name: version(name) for name in PACKAGES},
        "exact": exact,
        "protocol": to_document(plans[0][1].protocol),
        "stores": [_describe_store(store, plan) for store, plan in plans],
    }


def _describe_store(store: "Store", plan: "Plan") -> dict[str, Any]:
    from logitpipe.stages.score.labels.codes import codes_for

    # What the store says of itself, not what the command was given: a report must hold for the logits.
    attributes, missing = store.schema.attributes(), store.missing()
    codes = codes_for(plan.protocol.label_codes, store.schema.label_codes)
    return {
        "store": str(store.path),
        # Beside the name as it was typed, which rows have: the folder may be another when the page is made.
        "path": str(store.path.absolute() if isinstance(store.path, Path) else store.path),
        **{name: attributes[name] for name in OF_STORE},
        "images": len(store.schema.images) - len(missing),
        "missing": [store.schema.images[image] for image in missing],
        "label_codes": codes.text(),
        "dataset_sha256": dataset_digest(store),
        "statistics": _describe_statistics(plan.statistics),
    }


def _describe_statistics(statistics: object) -> dict[str, Any] | None:
    """Return where in-distribution statistics came from; None where a run had none of a file."""
    from logitpipe.stages.score.fitted import Fitted

    if not isinstance(statistics, Fitted):
        return None
    sources = [{"store": each.store, "fingerprint": each.fingerprint} for each in statistics.sources]
    return {"sha256": statistics.sha256, "weights_sha256": statistics.identity["weights_sha256"], "stores": sources}


def dataset_digest(store: "Store") -> str | None:
    """Return the SHA-256 over the names, pictures and masks that the images in a store came from.

    Two stores of one data set have the same digest, whatever their networks; None where a record does not say what
    its image came from.
    """
    digest = hashlib.sha256()
    for image in store.completed():
        record = store.record(image)
        # A digest over some of the images would look like one over all of them.
        if "image_sha256" not in record.sources:
            return None
        digest.update(json.dumps([record.name, *map(record.sources.get, SOURCES)]).encode())
    return digest.hexdigest()
