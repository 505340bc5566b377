"""A store in any order of runs, kills, damages, repairs and readings, against a plain dict that says what it holds.

    python -m tests.campaigns.machine --examples 5000

Hypothesis draws the orders. A kill is one: a forked process that commits ends at a step of the commit, by SIGKILL, in
the middle of what it does. An order that fails is made as short as it can be, and printed.
"""

import os
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from logitpipe.cache import IncompleteError, IntegrityError, Schema, Store, StoreWriter, open_store
from logitpipe.cache.files.steps import EVENT
from logitpipe.cache.format import VERSIONS, records
from logitpipe.cache.format.chunks import image_chunks
from logitpipe.cache.format.keys import LOCK, METADATA
from logitpipe.cache.format.schema import Kind
from logitpipe.cache.reading.verify import check_image, check_metadata
from logitpipe.cache.writing.pack import image_members, metadata_members, write_zip
from logitpipe.cache.writing.repair import mend_arrays, mend_group
from logitpipe.stages.score.passes.sweep import tally_store
from logitpipe.stages.score.plan import Plan, make_plan
from logitpipe.stages.score.protocols import PROTOCOLS
from tests.campaigns.words import numbers
from tests.scoring import whole
from tests.stores import make_schema, noise_values

IMAGES = 3
CODES = (0, 1, 255)
ABSENT, SOUND, DAMAGED = "absent", "sound", "damaged"
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
"""Where files cost the least: a disk could only slow the search down."""
LONGEST_COMMIT = 120
"""More steps than a commit, with the making of the store before it, has."""

_die_at: list[int] = []
"""In a child that is to die: how many more steps it takes."""


def _count_down(event: str, _arguments: tuple[object, ...]) -> None:
    if event == EVENT and _die_at:
        _die_at[0] -= 1
        if _die_at[0] < 0:
            os.kill(os.getpid(), signal.SIGKILL)


sys.addaudithook(_count_down)


@cache
def schema_of(kind: Kind, version: int = 2) -> Schema:
    return make_schema(kind, version=version, images=tuple(f"{number}.png" for number in range(IMAGES)))


@cache
def truth(kind: Kind, image: int) -> dict[str, np.ndarray]:
    """What an undisturbed run gives."""
    return noise_values(schema_of(kind), image, CODES)


@cache
def plan_of(kind: Kind) -> Plan:
    return make_plan(schema_of(kind), PROTOCOLS["standard"], ["msp", "entropy"], [0.5])


@cache
def counts_of(kind: Kind, image: int) -> Counter[tuple[int, int]]:
    """The counts of one image, from a store that nobody disturbed."""
    with tempfile.TemporaryDirectory() as folder:
        writer = StoreWriter(Path(folder) / "store", schema_of(kind))
        writer.commit(image, truth(kind, image), {})
        return counted(open_store(Path(folder) / "store"), [image])


def counted(store: Store, images: list[int]) -> Counter[tuple[int, int]]:
    """Score images; the counts of all pairs by pair and place, those of ignored pixels left out."""
    plan = plan_of(store.schema.kind)
    tally = tally_store(store, plan, images, 1, lambda: None)
    assert tally.images == len(images)
    histograms = [
        whole(tally.of_pair(pair))[: 2 * plan.bins(plan.pairs[pair]).count] for pair in range(len(plan.pairs))
    ]
    filled = [(pair, int(place), int(h[place])) for pair, h in enumerate(histograms) for place in np.flatnonzero(h)]
    return Counter({(pair, place): count for pair, place, count in filled})


def counts_of_all(kind: Kind, images: Iterable[int]) -> Counter[tuple[int, int]]:
    return sum((counts_of(kind, image) for image in images), Counter[tuple[int, int]]())


class StoreMachine(RuleBasedStateMachine):
    """The store, and beside it the dict: what each image is. `unseen` are those harmed where no score looks."""

    @initialize(kind=st.sampled_from(["pixel", "mask"]), version=st.sampled_from(sorted(VERSIONS)))
    def begin(self, kind: Kind, version: int) -> None:
        self.folder = tempfile.TemporaryDirectory(dir=MEMORY)
        self.path, self.kind, self.schema = Path(self.folder.name) / "store", kind, schema_of(kind, version)
        self.model = dict.fromkeys(range(IMAGES), ABSENT)
        self.unseen = set[int]()
        self.misdescribed = False
        self.zips = 0

    def teardown(self) -> None:
        self.folder.cleanup()

    def images(self, *states: str) -> list[int]:
        return [image for image, state in self.model.items() if state in states]

    @property
    def exists(self) -> bool:
        return (self.path / METADATA).exists()

    @rule(shard=st.sampled_from([(0, 1), (0, 2), (1, 2)]))
    def infer(self, shard: tuple[int, int]) -> None:
        """A run of a shard computes what is missing of it."""
        writer = StoreWriter(self.path, self.schema)
        self._commit(
            writer, [image for image in range(*(shard[0], IMAGES, shard[1])) if image in self.images(ABSENT)]
        )

    @rule(image=st.integers(0, IMAGES - 1), steps=st.integers(0, LONGEST_COMMIT))
    def killed(self, image: int, steps: int) -> None:
        """A run is killed while it commits an image, new or anew; what it leaves is the image whole or not at all."""
        child = os.fork()
        if child == 0:
            try:
                _die_at.append(steps)
                StoreWriter(self.path, self.schema).commit(image, truth(self.kind, image), {})
            finally:
                os._exit(0)
        _, status = os.waitpid(child, 0)
        there = self.exists and image in open_store(self.path).completed()
        if not os.WIFSIGNALED(status):
            assert there
            self.model[image] = SOUND
        elif not there:
            self.model[image] = ABSENT
        else:  # it died before it touched the old image, or after it published the new one
            sound = not check_image(open_store(self.path), image).damages
            assert sound or self.model[image] == DAMAGED
            self.model[image] = SOUND if sound else DAMAGED

    @precondition(lambda self: self.images(SOUND))
    @rule(data=st.data(), way=st.sampled_from(["flip", "cut", "delete", "swap"]))
    def damage_chunk(self, data: st.DataObject, way: str) -> None:
        """A chunk of an image is harmed."""
        image = data.draw(st.sampled_from(self.images(SOUND)))
        array = data.draw(st.sampled_from(sorted(self.schema.arrays())))
        spec = self.schema.arrays()[array]
        key, _ = data.draw(st.sampled_from(list(image_chunks(image, spec.shape, spec.chunks, spec.separator))))
        harm(self.path / array / key, way, data)
        self.model[image] = DAMAGED
        self.unseen |= {image} if array == "preview" else set()

    @precondition(lambda self: self.images(SOUND))
    @rule(data=st.data(), way=st.sampled_from(["cut", "delete", "swap"]))
    def damage_record(self, data: st.DataObject, way: str) -> None:
        """A record is harmed; without one, the image is not in the store."""
        image = data.draw(st.sampled_from(self.images(SOUND)))
        harm(self.path / records.key(image), way, data)
        self.model[image] = ABSENT if way == "delete" else DAMAGED

    @precondition(lambda self: self.exists and not self.misdescribed)
    @rule(data=st.data(), way=st.sampled_from(["cut", "delete"]))
    def damage_metadata(self, data: st.DataObject, way: str) -> None:
        """The description of an array is harmed."""
        harm(self.path / data.draw(st.sampled_from(sorted(self.schema.arrays()))) / METADATA, way, data)
        self.misdescribed = True

    @rule()
    def repair(self) -> None:
        """A run with --repair computes what is missing or damaged, and describes the arrays anew."""
        mend_group(self.path, self.schema)
        writer = StoreWriter(self.path, self.schema)
        if writer.store:
            mend_arrays(self.path)
            found = [image for image in writer.completed() if check_image(writer.store, image).damages]
            assert found == self.images(DAMAGED)
        self.misdescribed = False
        self._commit(writer, self.images(ABSENT, DAMAGED))

    @precondition(lambda self: self.exists)
    @rule()
    def verify(self) -> None:
        """Verifying finds exactly what was harmed."""
        store = open_store(self.path)
        found = {image: check_image(store, image) for image in range(IMAGES)}
        assert [image for image, check in found.items() if not check.committed] == self.images(ABSENT)
        assert [image for image, check in found.items() if check.damages] == self.images(DAMAGED)
        assert bool(check_metadata(store)) == self.misdescribed

    @precondition(lambda self: self.exists)
    @rule()
    def score(self) -> None:
        """What is scored is every image of the store, or an error; never some of them."""
        store = open_store(self.path)
        if self.images(ABSENT):
            with pytest.raises(IncompleteError):
                store.require_complete()
        if set(self.images(DAMAGED)) - self.unseen:
            with pytest.raises(IntegrityError, match=r"image '\d\.png'"):
                counted(store, store.completed())
        elif there := self.images(SOUND, DAMAGED):
            assert counted(store, store.completed()) == counts_of_all(self.kind, there)

    @precondition(lambda self: self.exists)
    @rule()
    def read(self) -> None:
        """Every array of a sound image reads as it was computed."""
        store = open_store(self.path)
        for image in self.images(SOUND):
            for name, values in truth(self.kind, image).items():
                found = store.labels(image) if name == "labels" else store.read(name, image)
                assert np.array_equal(found, values)

    @precondition(lambda self: self.exists and not self.images(ABSENT))
    @rule()
    def pack(self) -> None:
        """A sound store becomes a zip that gives the same figures; a damaged one becomes none."""
        zipped = Path(self.folder.name) / f"{self.zips}.zip"
        self.zips += 1
        if self.images(DAMAGED) or self.misdescribed:
            with pytest.raises(IntegrityError):
                pack_store(self.path, zipped)
            assert not zipped.exists()
        else:
            pack_store(self.path, zipped)
            store = open_store(zipped)
            assert counted(store, store.completed()) == counts_of_all(self.kind, range(IMAGES))

    @invariant()
    def says_what_it_holds(self) -> None:
        """The records that are there are those of the images that are there."""
        if hasattr(self, "path") and self.exists:
            assert open_store(self.path).completed() == self.images(SOUND, DAMAGED)
            self.unseen &= set(self.images(DAMAGED))

    def _commit(self, writer: StoreWriter, images: list[int]) -> None:
        with writer.claimed(images):
            for image in images:
                writer.commit(image, truth(self.kind, image), {})
                self.model[image] = SOUND
        if images:
            assert not (self.path / LOCK).exists()
            left = {str(file.relative_to(self.path)) for file in self.path.rglob("*.partial")}
            assert not {name for name in left if any(name.startswith(f"records/{image}.") for image in images)}


def harm(file: Path, way: str, data: st.DataObject) -> None:
    """Flip a bit, cut the end off, delete the file, or put other bytes of the same length there."""
    if way == "delete":
        file.unlink()
        return
    held = bytearray(file.read_bytes())
    position = data.draw(st.integers(0, len(held) - 1))
    if way == "flip":
        held[position] ^= 1 << data.draw(st.integers(0, 7))
    elif way == "swap":
        held = bytearray(byte ^ 0xFF for byte in held)
    file.write_bytes(held[:position] if way == "cut" else held)


def pack_store(path: Path, zipped: Path) -> None:
    """Pack as `pipe pack` does."""
    store = open_store(path)
    write_zip(zipped, [metadata_members(store), *(image_members(store, image) for image in store.completed())])


def run_machine(examples: int) -> None:
    """Try so many orders of events, each on a store of its own."""
    run_state_machine_as_test(
        StoreMachine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=10,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def main() -> None:
    """Run the campaign; an order that fails ends it by the traceback of what did not hold."""
    arguments = numbers(__doc__, examples=5000)
    with patch("os.fsync"):  # the kernel outlives who is killed here
        run_machine(arguments.examples)
    print(f"{arguments.examples} orders of events; every store held what the dict says")


if __name__ == "__main__":
    main()
