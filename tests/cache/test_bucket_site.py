"""A store written to a bucket: the objects that a folder would hold as files, by the same commit."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from itertools import count

import pytest
from conftest import content, fails, refused
from stores import fill, make_schema, noise_values

from logitpipe.cache import IntegrityError, PipeError, Schema, StoreWriter, open_store
from logitpipe.cache.errors import UnreachableError
from logitpipe.cache.files import remote
from logitpipe.cache.reading.verify import check_image, check_metadata, stray_files
from logitpipe.cache.writing.bucket_site import Objects

SCHEMA = make_schema("pixel")
pytestmark = pytest.mark.usefixtures("impatient")


@pytest.fixture
def url(s3) -> str:
    return f"{s3}/stores/enet.zarr"


@contextmanager
def failing_from(k: int) -> Iterator[list[str]]:
    """Let the k-th request that writes fail, and all that follow; yields what each was for."""
    asked: list[str] = []

    def wrapped(method: Callable[..., object]) -> Callable[..., object]:
        def request(self: Objects, what: object, *data: bytes) -> object:
            asked.append(str(what))
            if len(asked) >= k:
                raise UnreachableError("the server is gone")
            return method(self, what, *data)

        return request

    with pytest.MonkeyPatch.context() as patch:
        for name in ("publish", "publish_first", "remove_all"):
            patch.setattr(Objects, name, wrapped(getattr(Objects, name)))
        yield asked


def objects(url: str) -> dict[str, bytes]:
    bucket = remote.Bucket(url)
    return {key: bucket.read(key) for key in bucket.all_keys()}


def commit(url: str, image: int, schema: Schema = SCHEMA, overwrite: bool = False) -> None:
    StoreWriter(url, schema, overwrite).commit(image, noise_values(schema, image, (0, 1, 255)), {})


def sound(url: str) -> bool:
    store = open_store(url)
    checks = [check_image(store, image) for image in range(len(store.schema.images))]
    return not check_metadata(store) and not stray_files(store) and not any(check.damages for check in checks)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["pixel", "mask"])
def test_a_bucket_holds_what_a_folder_holds(url, tmp_path, kind):
    schema = make_schema(kind)
    fill(url, schema)
    assert objects(url) == content(fill(tmp_path / "store", schema))
    assert sound(url)


def test_infer_goes_on_in_a_bucket_and_refuses_another_run(run, url):
    flags = ("--out", url)
    first = run(*flags, "--shard", "0/2")
    assert (first.exit_code, first.stdout) == (0, "")
    assert first.stderr.splitlines()[-1].startswith("Tiny: 3 of 5 images (3 new, 0 already there), ")
    second = run(*flags)
    assert second.exit_code == 0
    assert "Tiny: 5 of 5 images (2 new, 3 already there), " in second.stderr
    assert f"MB in {url}" in second.stderr
    assert "0 new, 5 already there" in run(*flags).stderr
    other = run(*flags, "--precision", "float32")
    assert (other.exit_code, other.stdout) == (1, "")
    assert other.stderr.splitlines()[-1].startswith(f"pipe: {url} holds the logits of another run: ")


def test_infer_gives_the_bytes_of_a_folder(run, url, tmp_path):
    assert run("--out", url).exit_code == run(out="local").exit_code == 0
    assert objects(url) == content(tmp_path / "local")
    assert len(open_store(url).completed()) == 5


def test_all_data_sets_go_below_one_url(run, s3):
    assert run("--out", f"{s3}/stores/", "--dataset", "all").exit_code == 0
    assert len(open_store(f"{s3}/stores/Tiny.zarr").completed()) == 5
    result = run("--out", f"{s3}/stores/Tiny.zarr", "--dataset", "all")
    line = f"--out {s3}/stores/Tiny.zarr: it is a store; several data sets need a folder for their stores"
    fails(result, f"pipe: {line}", 2)


def test_overwrite_starts_anew(url, tmp_path):
    fill(url, make_schema("mask"))
    remote.Bucket(url).objects.put("stray", b"")
    commit(url, 1, overwrite=True)
    assert objects(url) == content(fill(tmp_path / "store", SCHEMA, images=[1]))


def each_failure(action: Callable[[], None], check: Callable[[], None], prepare: Callable[[], None]) -> int:
    """Let the action fail at each of its requests, and check what is left each time; return how many there are."""
    for k in count(1):
        prepare()
        try:
            with failing_from(k):
                action()
        except UnreachableError:
            check()
        else:
            return k - 1
    raise AssertionError


@pytest.mark.slow
def test_every_request_of_a_first_commit_may_fail(s3, tmp_path):
    """After any failure there is no store, or a sound one without the image; the same commit completes it."""
    undisturbed, names = content(fill(tmp_path / "store", SCHEMA, images=[0])), count()
    place = ""

    def prepare() -> None:
        nonlocal place
        place = f"{s3}/{next(names)}"

    def check() -> None:
        if "zarr.json" in objects(place):
            assert open_store(place).completed() == []
        commit(place, 0)
        assert objects(place) == undisturbed

    # metadata of four arrays and of the group, then the removal of a record, a chunk of each array, the record
    assert each_failure(lambda: commit(place, 0), check, prepare) == 4 + 1 + 1 + 4 + 1


@pytest.mark.slow
def test_every_request_of_a_replacement_may_fail(url, tmp_path):
    """The image is there as it was, or not at all, or anew; the others are untouched."""
    undisturbed = content(fill(tmp_path / "store", SCHEMA))
    fill(url, SCHEMA)

    def check() -> None:
        store = open_store(url)
        assert store.completed() in ([0, 1, 2], [0, 2])
        for image in store.completed():
            assert check_image(store, image).damages == []
        commit(url, 1)
        assert objects(url) == undisturbed

    assert each_failure(lambda: commit(url, 1), check, lambda: None) == 1 + 4 + 1


@pytest.mark.slow
def test_every_request_of_an_overwrite_may_fail(url, tmp_path):
    """The old store, with fewer images or none, then no store, then the new one: never a mixture."""
    undisturbed = content(fill(tmp_path / "store", SCHEMA, images=[0]))
    old = make_schema("mask")

    def check() -> None:
        if "zarr.json" in objects(url):
            store = open_store(url)
            assert store.completed() in ([], [0, 1, 2])
            assert not store.completed() or store.schema == old
            assert all(check_image(store, image).damages == [] for image in store.completed())
        commit(url, 0, overwrite=True)
        assert objects(url) == undisturbed

    def prepare() -> None:
        Objects(url).remove_all(Objects(url).all_keys())
        fill(url, old)

    assert each_failure(lambda: commit(url, 0, overwrite=True), check, prepare) == 3 + 11


def test_creators_at_once_end_with_one_store(url, tmp_path):
    images = [f"{i}.png" for i in range(8)]
    schema = make_schema("pixel", images=images)
    gate = threading.Barrier(8)

    def write(image: int) -> None:
        writer = StoreWriter(url, schema)
        gate.wait()
        writer.commit(image, noise_values(schema, image, (0, 1, 255)), {})

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))
    assert objects(url) == content(fill(tmp_path / "store", schema))


def test_of_two_runs_at_once_one_is_refused_and_the_other_stays_whole(url, tmp_path):
    first, second = StoreWriter(url, SCHEMA), StoreWriter(url, replace(SCHEMA, logits_shape=(5, 4, 6)))
    first.commit(0, noise_values(SCHEMA, 0, (0, 1, 255)), {})
    with pytest.raises(PipeError, match="holds the logits of another run: "):
        second.site.create(second.schema, [0], False) or second.commit(0, noise_values(second.schema, 0, (0, 1)), {})
    assert objects(url) == content(fill(tmp_path / "store", SCHEMA, images=[0]))


def test_a_store_that_is_removed_while_it_is_written_is_an_error(url):
    writer, message = StoreWriter(url, SCHEMA), "the store was moved or removed while it was written"
    with writer.claimed([0, 1]):
        writer.commit(0, noise_values(SCHEMA, 0, (0, 1, 255)), {})
        Objects(url).remove_all(Objects(url).all_keys())
        with pytest.raises(PipeError, match=f"^{url}: {message}"):
            writer.commit(1, noise_values(SCHEMA, 1, (0, 1, 255)), {})
    assert objects(url) == {}


def test_a_server_that_loses_a_byte_is_found_out(url, monkeypatch):
    commit(url, 0)
    publish = Objects.publish
    monkeypatch.setattr(Objects, "publish", lambda self, key, data: publish(self, key, data[:-1]))
    with pytest.raises(IntegrityError, match=r"what was written does not read back as it was$") as caught:
        commit(url, 1)
    assert (caught.value.store, caught.value.file) == (url, "logits/c/1/0/0/0")
    assert open_store(url).completed() == [0]


def test_a_place_with_something_else_is_refused_and_untouched(s3):
    bucket = remote.Bucket(s3).objects
    bucket.put("photos/a.png", b"a")
    bucket.put("notes/zarr.json", b"{}")
    line = "a store can only be made where nothing lies; choose another --out"
    with refused(f"{s3}/photos: {line}"):
        StoreWriter(f"{s3}/photos", SCHEMA)
    with refused(f"{s3}/notes: a logit store was expected and there is none, so it was not removed"):
        StoreWriter(f"{s3}/notes", SCHEMA, overwrite=True)
    with pytest.raises(PipeError):
        StoreWriter(f"{s3}/notes", SCHEMA)
    assert objects(s3) == {"photos/a.png": b"a", "notes/zarr.json": b"{}"}


@pytest.mark.parametrize("place", ["gs://b/a", "http://127.0.0.1/a", "s3://b", "s3://b/", "s3://b/a.zip"])
def test_what_cannot_be_written_to_is_refused(run, place):
    line = f"{place}: a store is written to a folder or to s3://BUCKET/FOLDER, and not into a zip"
    fails(run("--out", place), f"pipe: {line}")


@pytest.mark.usefixtures("s3")
def test_a_missing_bucket_is_told_before_anything_is_computed(run):
    result = run("--out", "s3://other/enet.zarr")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.splitlines()[-1] == "pipe: s3://other/enet.zarr/: there is no such bucket"
