"""In-distribution statistics as files: NAME.json says what they are and of what, NAME.npz holds their arrays."""

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from logitpipe.cache.errors import PipeError, UsageError
from logitpipe.cache.files.folder import Folder
from logitpipe.stages.score.fitted import Fitted, LeastNll, Source
from logitpipe.stages.score.plan import Pair
from logitpipe.stages.score.statistics.in_distribution import Found

FORMAT, VERSION = "logitpipe statistics", 1
LARGEST = ("count", "mean", "variance")


def files_of(path: Path) -> tuple[Path, Path]:
    """Return the JSON and the npz file of statistics that are named by either, or by what both have in common.

    Raises
    ------
    UsageError
        The path is empty or names a folder alone.
    """
    if not path.name:
        raise UsageError(f"expected the name of a file of statistics, and found {str(path)!r}")
    stem = path.with_suffix("") if path.suffix in (".json", ".npz") else path
    return stem.with_name(f"{stem.name}.json"), stem.with_name(f"{stem.name}.npz")


def write_fitted(path: Path, every: Sequence[Fitted]) -> tuple[Path, Path]:
    """Write the statistics of some networks, and return the files; OSError where they cannot be written."""
    document, arrays = files_of(path)
    buffer = io.BytesIO()
    named: dict[str, Any] = {}
    for i, fitted in enumerate(every):
        named |= _arrays(i, fitted)
    # In memory first: the digest of the file has to stand in the document that names it.
    np.savez(buffer, **named)
    about = {
        "format": FORMAT,
        "format_version": VERSION,
        "arrays": {"file": arrays.name, "sha256": hashlib.sha256(buffer.getvalue()).hexdigest()},
        "networks": [_document(fitted) for fitted in every],
    }
    folder = Folder(document.parent)
    folder.publish(arrays.name, buffer.getvalue())
    # Last, as it names the digest of the arrays: half of the two files never passes for both.
    folder.publish(document.name, (json.dumps(about, indent=1) + "\n").encode())
    return document, arrays


def read_fitted(path: Path) -> list[Fitted]:
    """Return the statistics of each network that `write_fitted` wrote.

    Raises
    ------
    PipeError
        A file cannot be read or is none of these, or the two do not belong together.
    """
    document, arrays = files_of(path)
    try:
        text, data = document.read_bytes(), arrays.read_bytes()
    except OSError as error:
        raise PipeError(f"{error.filename}: the statistics cannot be read ({error.strerror})", "make-fit") from error
    try:
        about = json.loads(text)
        if about["format"] != FORMAT or about["format_version"] != VERSION:
            raise ValueError(f"{about['format']} of version {about['format_version']}")
        if about["arrays"]["sha256"] != hashlib.sha256(data).hexdigest():
            raise PipeError(f"{document} and {arrays} do not belong together", "make-fit")
        # Of the document, which holds the digest of the arrays: one number stands for both files.
        digest = hashlib.sha256(text).hexdigest()
        # From the bytes that were hashed, not from the file, which may be another by now. A pickle would run code.
        with np.load(io.BytesIO(data), allow_pickle=False) as found:
            return [_parsed(i, each, found, digest) for i, each in enumerate(about["networks"])]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, zipfile.BadZipFile) as error:
        found_instead = f"{type(error).__name__}: {error}"
        raise PipeError(
            f"{document}: statistics of version {VERSION} were expected ({found_instead})", "make-fit"
        ) from error


def _document(fitted: Fitted) -> dict[str, Any]:
    found = fitted.found
    mean, variance = found.pooled
    return {
        **fitted.identity,
        "protocol": fitted.protocol,
        "stores": [asdict(source) for source in fitted.sources],
        "images": found.images,
        "pixels": found.pixels,
        "least_nll": None if fitted.least_nll is None else asdict(fitted.least_nll),
        "largest_logit": {"mean": _plain(mean), "variance": _plain(variance)},
        "posterior_temperatures": list(found.posteriors),
        "scores": [
            {**asdict(pair), "mean": _plain(mean), "deviation": _plain(deviation)}
            for pair, (mean, deviation) in found.scores.items()
        ],
    }


def _arrays(network: int, fitted: Fitted) -> dict[str, np.ndarray]:
    """Return the arrays of one network by method: `0/sml/mean`, `0/kl/T=0.5`."""
    found = fitted.found
    return {f"{network}/sml/{name}": getattr(found, name) for name in LARGEST} | {
        f"{network}/kl/T={T!r}": means for T, means in found.posteriors.items()
    }


def _parsed(network: int, about: Mapping[str, Any], arrays: Mapping[str, np.ndarray], digest: str) -> Fitted:
    scores: dict[Pair, tuple[float, float]] = {}
    for each in about["scores"]:
        fields = dict(each)
        mean, deviation = _number(fields.pop("mean")), _number(fields.pop("deviation"))
        scores[Pair(**fields)] = mean, deviation
    pooled = about["largest_logit"]
    least = about["least_nll"]
    return Fitted(
        {name: about[name] for name in ("network", "kind", "classes", "weights_sha256", "facts")},
        about["protocol"],
        tuple(Source(**source) for source in about["stores"]),
        Found(
            scores,
            arrays[f"{network}/sml/count"],
            arrays[f"{network}/sml/mean"],
            arrays[f"{network}/sml/variance"],
            (_number(pooled["mean"]), _number(pooled["variance"])),
            {float(T): arrays[f"{network}/kl/T={float(T)!r}"] for T in about["posterior_temperatures"]},
            about["pixels"],
            about["images"],
        ),
        None if least is None else LeastNll(**least),
        digest,
    )


def _plain(number: float) -> float | None:
    """Return a number as JSON has it, which knows no NaN."""
    return None if np.isnan(number) else number


def _number(plain: float | None) -> float:
    return float("nan") if plain is None else float(plain)
