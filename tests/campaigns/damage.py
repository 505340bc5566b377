"""Damages stores at random and shows that none of it goes unnoticed: not to `pipe verify`, not to `pipe score`.

    python -m tests.campaigns.damage --flips 1000 --truncations 200 --deletions 200 [--seed N]

A fifth of the damages each are done to a pixel and a mask store of either format version, and to a mask store with
windows; a third each to chunks, completion records and metadata. Each is done alone, looked at, and mended as
`pipe infer --repair` does it. The table has a line for each kind of damage and of file:

damages      how many were done
found        `pipe verify` tells them, or the store cannot be opened
no meaning   nothing is found, and every value reads as it was: another spelling of the same JSON
silent       nothing is found, and a value reads otherwise: must be 0
refused      scoring ends in an error that names the image, or the store where its metadata is damaged
unchanged    scoring gives exactly the undamaged counts: it does not read what was damaged
wrong        scoring gives other counts, or its error does not name what is damaged: must be 0
mended       after the repair every file is what it was: must be all
"""

import re
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args
from unittest import mock

import numpy as np

from logitpipe.cache import PipeError, Schema, StoreWriter, open_store
from logitpipe.cache.format import VERSIONS
from logitpipe.cache.format.records import digest
from logitpipe.cache.format.schema import Kind
from logitpipe.cache.reading.pinned import PinnedStore
from logitpipe.cache.reading.verify import check_image, check_metadata
from logitpipe.cache.writing.repair import mend_arrays, mend_group
from logitpipe.stages.score.passes.sweep import tally_store
from logitpipe.stages.score.plan import make_plan
from logitpipe.stages.score.protocols import PROTOCOLS
from logitpipe.stages.score.statistics.tally import Tally
from tests.campaigns.words import numbers
from tests.conftest import content
from tests.stores import fill, geometry_of, make_schema, noise_values

CODES = (0, 1, 255)
NAMES = ("a.png", "größe.png", "c.png", "d.png")
COLUMNS = ("damages", "found", "no meaning", "silent", "refused", "unchanged", "wrong", "mended")

Change = Callable[[bytes, np.random.Generator], bytes | None]


@dataclass(frozen=True)
class Subject:
    """A store to damage, and all that is known of it while it is sound."""

    path: Path
    schema: Schema
    files: dict[str, bytes]
    values: dict[tuple[str, int, int], str]
    tally: Tally


def flipped(data: bytes, noise: np.random.Generator) -> bytes:
    bit = int(noise.integers(8 * len(data)))
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def truncated(data: bytes, noise: np.random.Generator) -> bytes:
    return data[: int(noise.integers(len(data)))]


def deleted(_data: bytes, _noise: np.random.Generator) -> None:
    return None


CHANGES: dict[str, Change] = {"flip": flipped, "truncation": truncated, "deletion": deleted}


@contextmanager
def small_chunks() -> Iterator[None]:
    """Cut the logits of an image, 8 rows, into three chunks, the last at the edge; do not wait for the disk."""
    with (
        mock.patch("logitpipe.cache.format.version1.rows_per_chunk", lambda *_: 3),
        mock.patch("os.fsync", lambda _: None),
    ):
        yield


def make_subject(path: Path, kind: Kind, version: int, windows: int = 1) -> Subject:
    """A store of four images; its facts and names hold what JSON can spell in two ways."""
    schema = replace(make_schema(kind, images=NAMES, version=version, windows=windows), facts={"epsilon": 1e-05})
    fill(path, schema, codes=CODES)
    return Subject(path, schema, content(path), read_all(path), score(path))


def read_all(path: Path) -> dict[tuple[str, int, int], str]:
    """The digest of every value of a store, as `Store` reads it."""
    store = open_store(path)
    return {
        (name, image, window): digest(store.read(name, image, window=window))
        for name in store.arrays
        for image in range(len(NAMES))
        for window in range(len(store.image(image).windows) if store.arrays[name].windowed else 1)
    }


def score(path: Path) -> Tally:
    """What `pipe score` counts: every method, at one temperature."""
    store = open_store(path)
    store.require_complete()
    plan = make_plan(store.schema, PROTOCOLS["standard"], None, [1.0])
    pinned = PinnedStore(store.files, store.schema)
    return tally_store(pinned, plan, store.completed(), 1, lambda: None)


def is_found(path: Path) -> bool:
    """Whether `pipe verify` finds anything: damage, or a missing image."""
    try:
        store = open_store(path)
    except PipeError:
        return True
    checks = [check_image(store, image) for image in range(len(NAMES))]
    return bool(check_metadata(store)) or any(check.damages or not check.committed for check in checks)


def mend(subject: Subject) -> None:
    """Do what `pipe infer --repair` does, with noise in the place of a network."""
    mend_group(subject.path, subject.schema)
    writer = StoreWriter(subject.path, subject.schema)
    mend_arrays(subject.path)
    for image in range(len(NAMES)):
        check = check_image(writer.store, image)
        if check.damages or not check.committed:
            writer.commit(image, noise_values(subject.schema, image, CODES), {}, geometry_of(subject.schema))


def look(subject: Subject, file: str) -> Counter:
    """Look at a store of which one file is damaged, and mend it; return what the columns of the table gain."""
    found, same, scoring = is_found(subject.path), is_same(subject), judge_score(subject, file)
    mend(subject)
    columns = {"damages": 1, "found": found, "no meaning": not found and same, "silent": not found and not same}
    return Counter({**columns, scoring: 1, "mended": content(subject.path) == subject.files})


def is_same(subject: Subject) -> bool:
    """Whether every value reads as it was."""
    try:
        return read_all(subject.path) == subject.values
    except PipeError:
        return False


def judge_score(subject: Subject, file: str) -> str:
    """Return the column that scoring the damaged store belongs to."""
    try:
        tally = score(subject.path)
    except PipeError as error:
        return "refused" if str(error).startswith(f"{subject.path}") and culprit(file) in str(error) else "wrong"
    arrays = ("counts", "above", "pixels")
    same = all(np.array_equal(getattr(tally, name), getattr(subject.tally, name)) for name in arrays)
    return "unchanged" if same and tally.images == len(NAMES) else "wrong"


def culprit(file: str) -> str:
    """What an error about a damaged file has to name: its image, or the metadata."""
    image = re.search(r"/c[./](\d+)[./]|^records/(\d+)\.json$", file)
    return NAMES[int(image[1] or image[2])] if image else file


def kind_of(file: str) -> str:
    return "chunk" if re.search(r"/c[./]", file) else "record" if file.startswith("records/") else "metadata"


def damages(
    subject: Subject, change: Change, count: int, noise: np.random.Generator
) -> Iterator[tuple[str, Counter]]:
    """Do so many damages to a store, one after another, to each kind of file in turn; yield the file and `look`."""
    groups = [[f for f in subject.files if kind_of(f) == kind] for kind in ("chunk", "record", "metadata")]
    for number in range(count):
        files = groups[number % len(groups)]
        file = files[noise.integers(len(files))]
        data = change(subject.files[file], noise)
        target = subject.path / file
        target.unlink() if data is None else target.write_bytes(data)
        yield file, look(subject, file)


def campaign(folder: Path, counts: dict[str, int], seed: int) -> dict[tuple[str, str], Counter]:
    """Return the columns of the table by (kind of damage, kind of file)."""
    noise = np.random.default_rng(seed)
    table: dict[tuple[str, str], Counter] = {}
    with small_chunks():
        subjects = [
            make_subject(folder / f"{kind}{version}", kind, version)
            for kind in get_args(Kind)
            for version in VERSIONS
        ]
        subjects.append(make_subject(folder / "windows", "mask", 2, windows=2))
        for name, number in counts.items():
            for index, subject in enumerate(subjects):
                share = len(range(index, number, len(subjects)))
                for file, columns in damages(subject, CHANGES[name], share, noise):
                    table.setdefault((name, kind_of(file)), Counter()).update(columns)
    return table


def as_lines(table: dict[tuple[str, str], Counter]) -> Iterator[str]:
    total = sum(table.values(), Counter())
    yield "  ".join(["damage    ", "file    ", *COLUMNS])
    for (damage, file), counts in [*table.items(), (("all", ""), total)]:
        yield "  ".join([f"{damage:10}", f"{file:8}", *(f"{counts[name]:>{len(name)}}" for name in COLUMNS)])


def main(words: Sequence[str] | None = None) -> int:
    options = numbers(__doc__, words, flips=1000, truncations=200, deletions=200, seed=0)
    counts = {"flip": options.flips, "truncation": options.truncations, "deletion": options.deletions}
    folder = Path(tempfile.mkdtemp())
    try:
        table = campaign(folder, counts, options.seed)
    finally:
        shutil.rmtree(folder)
    print("\n".join(as_lines(table)))
    total = sum(table.values(), Counter())
    return int(total["silent"] + total["wrong"] > 0 or total["mended"] < total["damages"])


if __name__ == "__main__":
    sys.exit(main())
