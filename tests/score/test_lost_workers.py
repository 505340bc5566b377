"""A worker that dies, and a store that changes while it is read: an error, and never figures of less."""

import json
import shutil
from collections.abc import Callable, Iterator
from itertools import count, islice
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from conftest import fails, refused
from stores import fill, make_schema, noise_values

from logitpipe.cache import IntegrityError, StoreWriter, open_store
from logitpipe.cache.reading.pinned import PinnedStore
from logitpipe.cli import cli
from logitpipe.stages.infer import run as infer_run
from logitpipe.stages.score.passes import walk
from logitpipe.stages.score.picture import Picture
from logitpipe.stages.score.statistics.tally import Tally

NAMES = tuple(f"{letter}.png" for letter in "abcdefgh")
KINDS = ("pixel", "mask")


def score(*words: object) -> Result:
    return CliRunner().invoke(cli, ["score", *map(str, words), "--temperatures", "0.5,1,2", "--workers", "3"])


@pytest.fixture(params=KINDS)
def store(request, tmp_path) -> Path:
    return fill(tmp_path / "store", make_schema(request.param, images=NAMES))


def at_call(number: int, function: Callable, act: Callable[[], object]) -> Callable:
    """Wrap a function: before one of its calls something happens; what that returns, if anything, is returned."""
    calls = count(1)

    def wrapped(*args: object, **kwargs: object) -> object:
        found = act() if next(calls) == number else None
        return function(*args, **kwargs) if found is None else found

    return wrapped


def raising(error: BaseException) -> Callable[[], object]:
    def act() -> object:
        raise error

    return act


PLACES = {
    "reader": (walk, "read_picture", 3),
    "counter": (Tally, "add_image", 3),
    "kernel": (Picture, "count", 4),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (RuntimeError("the roof is on fire"), 1, None),
        (SystemError("CPUDispatcher returned a result with an exception set"), 1, None),
        (MemoryError("Unable to allocate 9 GiB"), 1, "pipe: there is too little memory (Unable to allocate 9 GiB); "
         "fewer --workers need less"),
        (MemoryError(), 1, "pipe: there is too little memory; fewer --workers need less"),
        (OSError(5, "Input/output error"), 1, "pipe: Input/output error"),
        (KeyboardInterrupt(), 130, "pipe: interrupted; the same command again begins anew"),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_an_error_in_any_worker_ends_the_run(tmp_path, monkeypatch, place, error, code, line):
    """Whether each worker has a tally of its own or, as with the last place, several share one."""
    store = fill(tmp_path / "store", make_schema("pixel", images=NAMES))
    if place == "kernel":
        monkeypatch.setattr(walk, "TOTALS_BYTES", 1)
    owner, name, number = PLACES[place]
    monkeypatch.setattr(owner, name, at_call(number, getattr(owner, name), raising(error)))
    result = score(store)
    assert (result.exit_code, result.stdout) == (code, "")
    if line is None:
        assert result.exception is error
    else:
        assert result.stderr.splitlines()[-1] == line


LOST = {
    "a share of its pairs": (Picture, "count", 4),
    "its pixels": (Tally, "add_image", 4),
    "a tally": (Tally, "add", 1),
}


@pytest.mark.parametrize("what", LOST)
def test_what_a_worker_loses_without_a_word_is_noticed(store, monkeypatch, what):
    owner, name, number = LOST[what]
    monkeypatch.setattr(walk, "TOTALS_BYTES", 1 << 40)
    monkeypatch.setattr(owner, name, at_call(number, getattr(owner, name), lambda: "done without doing anything"))
    fails(
        score(store),
        f"pipe: {store}: the counts are not those of all pixels of all 8 images: a worker has failed without a word. "
        "No figures were computed; call the same command again",
    )


@pytest.mark.parametrize("stream", [1, 2], ids=["read", "counted"])
def test_an_image_that_never_comes_back_is_noticed(tmp_path, monkeypatch, stream):
    store, ahead, calls = (
        fill(tmp_path / "store", make_schema("pixel", images=NAMES)),
        walk.ahead,
        count(1),
    )

    def losing(*arguments: object) -> Iterator[object]:
        results = ahead(*arguments)
        return islice(results, 1, None) if next(calls) == stream else results

    monkeypatch.setattr(walk, "ahead", losing)
    result = score(store)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "the counts are not those of all pixels of all 8 images" in result.stderr


def test_images_that_a_protocol_skips_are_not_missed(tmp_path):
    path = fill(tmp_path / "store", make_schema("pixel", images=NAMES), images=range(4))
    fill(path, make_schema("pixel", images=NAMES), images=range(4, 8), codes=[0])
    result = score(path, "--protocol", "course", "--json")
    assert result.exit_code == 0
    assert {row["images"] for row in json.loads(result.stdout)["results"]} == {4}


def at_third_image(monkeypatch: pytest.MonkeyPatch, act: Callable[[], None]) -> None:
    """Let something happen after two images were read; one thread reads, so that it is not too late."""
    read_picture = walk.read_picture
    monkeypatch.setattr(walk, "read_picture", at_call(3, read_picture, act))


def one_by_one(*words: object) -> Result:
    return CliRunner().invoke(cli, ["score", *map(str, words), "--workers", "1"])


def test_a_store_that_disappears_is_an_error(store, monkeypatch):
    at_third_image(monkeypatch, lambda: shutil.rmtree(store))
    result = one_by_one(store)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.splitlines()[-1] == (
        f"pipe: {store}: image 'c.png' was there and is gone: another process removes or replaces the store; "
        "wait for it, and call the same command again"
    )


def test_a_store_that_another_run_replaces_is_an_error(store, tmp_path, monkeypatch):
    kind = open_store(store).schema.kind
    other = fill(tmp_path / "other", make_schema(kind, "float32", images=NAMES))

    def replace() -> None:
        shutil.rmtree(store)
        other.rename(store)

    at_third_image(monkeypatch, replace)
    result = one_by_one(store)
    assert (result.exit_code, result.stdout) == (4, "")
    assert result.stderr.splitlines()[-1].startswith(
        f"pipe: {store}: image 'c.png': the completion record belongs to another store; "
    )


def test_an_image_that_another_run_replaces_is_whole_or_an_error(store, monkeypatch):
    """Its labels were read: its new logits do not fit the record that these were read by."""
    schema = open_store(store).schema
    read = PinnedStore.read

    def replaced(self, array, image, record=None, window=0):
        if image == 2 and "logits" in array:
            StoreWriter(store, schema).commit(2, noise_values(schema, 77, (0, 1)), {})
        return read(self, array, image, record, window)

    monkeypatch.setattr(PinnedStore, "read", replaced)
    result = one_by_one(store)
    assert (result.exit_code, result.stdout) == (4, "")
    assert f"pipe: {store}: image 'c.png': " in result.stderr.splitlines()[-1]


def test_the_exact_figures_are_of_the_images_that_were_streamed(store, monkeypatch):
    """Between the two an image is replaced."""
    from logitpipe.stages.score.passes import exact

    schema = open_store(store).schema

    def replace() -> None:
        StoreWriter(store, schema).commit(0, noise_values(schema, 77, (0, 1)), {})

    monkeypatch.setattr(
        exact,
        "read_picture",
        at_call(1, exact.read_picture, replace),
    )
    result = one_by_one(store, "--exact")
    assert (result.exit_code, result.stdout) == (4, "")
    assert f"pipe: {store}: image 'a.png': " in result.stderr.splitlines()[-1]


def test_a_pinned_store_reads_each_record_once(store):
    plain = open_store(store)
    pinned = PinnedStore(plain.files, plain.schema)
    record = pinned.record(1)
    (store / "records" / "1.json").unlink()
    assert pinned.record(1) is record
    assert np.array_equal(pinned.read("labels", 1), plain.read("labels", 1, record))
    (store / "records" / "2.json").unlink()
    with refused(
        f"{store}: image 'c.png' was there and is gone: another process removes or replaces the store; "
        "wait for it, and call the same command again"
    ):
        pinned.record(2)
    (store / "records" / "3.json").write_text("{}")
    with pytest.raises(IntegrityError, match=r"image 'd\.png': the completion record is damaged"):
        pinned.record(3)


def test_a_commit_that_does_nothing_is_noticed(run, tmp_path, monkeypatch):
    commit = StoreWriter.commit

    def losing(self, image, values, sources, geometry=None):
        if image not in (1, 4):
            commit(self, image, values, sources, geometry)

    with monkeypatch.context() as patch:
        patch.setattr(StoreWriter, "commit", losing)
        fails(
            run(),
            f"pipe: {tmp_path / 'store'}: 2 of 5 images were computed and are not in the store ('1.png', '10.png'); "
            "the same command again goes on where it stopped",
            code=3,
        )
    assert "(2 new, 3 already there)" in run().stderr


@pytest.mark.parametrize("error", [MemoryError("no more"), SystemError("odd"), OSError(5, "Input/output error")])
def test_a_decoder_that_dies_ends_the_run(run, tmp_path, monkeypatch, error):
    monkeypatch.setattr(infer_run, "prepare", at_call(3, infer_run.prepare, raising(error)))
    result = run()
    assert (result.exit_code, result.stdout) == (1, "")
    assert open_store(tmp_path / "store").completed() == [0, 1]
