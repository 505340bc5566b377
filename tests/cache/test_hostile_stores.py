"""Stores made to harm: what they say is held against what they are, and what they are is read within limits."""

import hashlib
import json
import os
import shutil
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from conftest import fails, refused
from hostile import posix
from servers import web_server
from stores import fill, make_schema
from test_schema import sealed
from test_store import forge

from logitpipe.cache import IntegrityError, open_store
from logitpipe.cache.files.folder import MAX_FILE_BYTES
from logitpipe.cache.format.documents import MAX_JSON_BYTES, loads
from logitpipe.cache.format.schema import canonical
from logitpipe.cli import cli
from logitpipe.console.advice import DAMAGED_ADVICE

pytestmark = pytest.mark.usefixtures("within_limits")

PIXEL = make_schema("pixel")
NO_FILE = "cannot be read (a device, pipe or socket and no file)"


@pytest.fixture
def path(tmp_path) -> Path:
    return fill(tmp_path / "store", PIXEL)


def pipe(*words: object) -> Result:
    return CliRunner().invoke(cli, [str(word) for word in words])


def write(path: Path, text: str) -> None:
    (path / "zarr.json").write_text(text, encoding="utf-8")


def change(path: Path, old: str, new: str) -> None:
    """Replace the one occurrence of a text in the metadata."""
    text = (path / "zarr.json").read_text(encoding="utf-8")
    assert text.count(old) == 1
    write(path, text.replace(old, new))


# ---- Metadata


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"attributes": {\n  "format"', '"attributes": {}, "attributes": {\n  "format"'),
        ('"format": "logit-store"', '"format": "another", "format": "logit-store"'),
        ('"void_class": 4', '"void_class": 0, "void_class": 4'),
    ],
)
def test_what_is_said_twice_is_said_by_none(path, old, new):
    change(path, old, new)
    with pytest.raises(IntegrityError, match=r"zarr\.json: cannot be parsed \(an object names something twice\)$"):
        open_store(path)


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        ("NaN", "NaN is no JSON"),
        ("Infinity", "Infinity is no JSON"),
        ("-Infinity", "-Infinity is no JSON"),
        ("1e999", "Out of range float values are not JSON compliant"),
        ("9" * 5000, "Exceeds the limit (4300 digits) for integer string conversion"),
    ],
)
def test_numbers_that_are_none_are_damage(path, number, reason):
    change(path, '"facts": {}', f'"facts": {{"a": {number}}}')
    result = pipe("show", path)
    assert (result.exit_code, result.stdout, len(result.stderr.splitlines())) == (4, "", 1)
    assert result.stderr.startswith(f"pipe: {path}: zarr.json: cannot be parsed ({reason}")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-8-sig"])
def test_another_encoding_is_damage(path, encoding):
    (path / "zarr.json").write_text((path / "zarr.json").read_text(encoding="utf-8"), encoding=encoding)
    with pytest.raises(IntegrityError, match=r"zarr\.json: cannot be parsed"):
        open_store(path)


@pytest.mark.parametrize("command", ["show", "verify", "score"])
def test_a_newer_store_asks_for_a_newer_program(path, command):
    write(path, json.dumps(sealed(PIXEL, format_version=3)))
    fails(
        pipe(command, path),
        f"pipe: {path}: written by a newer version of logitpipe, in format version 3, and this one reads versions up "
        "to 2; upgrade logitpipe",
    )


def test_another_format_is_no_store(path):
    write(path, json.dumps(sealed(PIXEL, format="another")))
    fails(
        pipe("show", path), f"pipe: {path}: expected a logit store, but the attribute `format` is not 'logit-store'"
    )


def test_an_endless_lie_is_told_in_short(path):
    write(path, json.dumps(sealed(PIXEL, void_class="x" * 10**6)))
    result = pipe("show", path)
    assert (result.exit_code, len(result.stderr.splitlines())) == (4, 1)
    assert len(result.stderr) < 2100


@pytest.mark.slow
def test_a_hundred_thousand_images_are_opened_and_missed(path):
    names = [f"{i:06}.png" for i in range(10**5)]
    attributes = PIXEL.attributes() | {"images": names}
    del attributes["fingerprint"]
    attributes["fingerprint"] = hashlib.sha256(canonical(attributes)).hexdigest()
    metadata = json.loads(json.dumps(PIXEL.metadata()).replace('"shape": [3, ', '"shape": [100000, '))
    write(path, json.dumps(metadata | {"attributes": attributes}))
    fails(
        pipe("score", path),
        f"pipe: {path}: 99997 of 100000 images are missing (000003.png, 000004.png, 000005.png, ...); "
        "run the same `pipe infer` again to finish it, or take what is there with --allow-incomplete",
        code=3,
    )


@posix
@pytest.mark.parametrize("key", ["zarr.json", "records/1.json", "logits/c/1/0/0/0", "labels/zarr.json"])
@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_what_is_no_file_is_not_opened(path, key, kind):
    file = path / key
    file.unlink()
    if kind == "pipe":
        os.mkfifo(file)
    else:
        file.symlink_to("/dev/zero")
    result = pipe("verify", path)
    assert result.exit_code == 4
    line = result.stdout.splitlines()[0]
    assert line.startswith(f"{path}")
    assert line.endswith(NO_FILE)
    assert key in line
    if key == "zarr.json":
        fails(pipe("show", path), f"pipe: {path}: {key}: {NO_FILE}; {DAMAGED_ADVICE}", code=4)
    elif key.startswith("logits"):
        fails(pipe("score", path), f"pipe: {path}: image 'b.png': {key}: {NO_FILE}; {DAMAGED_ADVICE}", code=4)


@posix
@pytest.mark.parametrize(
    ("key", "most"),
    [("zarr.json", MAX_JSON_BYTES), ("records/1.json", MAX_JSON_BYTES), ("logits/c/1/0/0/0", MAX_FILE_BYTES)],
)
def test_a_file_larger_than_any_of_a_store_is_not_read(path, key, most):
    os.truncate(path / key, 1 << 40)
    result = pipe("verify", path)
    assert result.exit_code == 4
    assert f": cannot be read ({1 << 40} bytes, and {most} are the most)" in result.stdout
    assert key in result.stdout


@posix
def test_a_file_on_a_server_larger_than_any_of_a_store_is_not_read(path):
    os.truncate(path / "zarr.json", MAX_JSON_BYTES + 1)
    with web_server(path.parent) as server:
        url = f"{server.url}/{path.name}"
        line = f"{url}: zarr.json: cannot be read ({MAX_JSON_BYTES + 1} bytes, and {MAX_JSON_BYTES} are the most)"
        fails(pipe("show", url), f"pipe: {line}; {DAMAGED_ADVICE}", code=4)


def test_a_member_larger_than_any_file_of_a_store_is_not_read(tmp_path):
    zipped = tmp_path / "store.zip"
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("zarr.json", bytes(MAX_JSON_BYTES + 1))
    line = f"{zipped}: zarr.json: cannot be read ({MAX_JSON_BYTES + 1} bytes, and {MAX_JSON_BYTES} are the most)"
    fails(pipe("show", zipped), f"pipe: {line}; {DAMAGED_ADVICE}", code=4)


def test_json_that_is_too_long_is_not_parsed():
    with pytest.raises(ValueError, match=rf"^{MAX_JSON_BYTES + 1} bytes, and {MAX_JSON_BYTES} are the most$"):
        loads(b" " * (MAX_JSON_BYTES + 1))


@posix
@pytest.mark.parametrize("key", ["logits/c/1/0/0/0", "labels/c/1/0/0", "records/1.json"])
def test_links_out_of_a_store_are_followed_and_checked_like_files(path, tmp_path, key):
    shutil.move(path / key, tmp_path / "elsewhere")
    (path / key).symlink_to(tmp_path / "elsewhere")
    assert pipe("verify", path).exit_code == 0
    (tmp_path / "elsewhere").write_bytes(b"x" * 40)
    assert pipe("verify", path).exit_code == 4


@posix
def test_a_link_in_the_place_of_the_lock_makes_no_file_elsewhere(tmp_path):
    path = fill(tmp_path / "store", PIXEL, images=[0])
    (path / "records/lock").symlink_to(tmp_path / "elsewhere")
    with refused(f"{path}: the store cannot be written (Too many levels of symbolic links)"):
        fill(path, PIXEL, images=[1])
    assert not (tmp_path / "elsewhere").exists()


@posix
@pytest.mark.parametrize("key", ["zarr.json", "records", "logits/c", "records/1.json", "logits/c/1"])
def test_links_in_a_circle_end(path, key):
    shutil.rmtree(path / key) if (path / key).is_dir() else (path / key).unlink()
    (path / key).symlink_to(path / key)
    result = pipe("verify", path)
    assert result.exit_code in (1, 3, 4)
    assert (path / key).name in result.output or "missing" in result.output


# ---- Records


RECORDS = {
    "image": [True, 1.0, "1", None, [1], 2, -1, 10**30],
    "name": [None, 1, "a.png", ["b.png"], {}],
    "fingerprint": [None, 0, "", "0" * 64],
    "sources": [None, [], "x", 3, {"image_sha256": 3}, {"image_sha256": None}, {"a": ["b"]}],
    "arrays": [None, [], {}, {"logits": None}, "x"],
}


@pytest.mark.parametrize(("name", "lie"), [(name, lie) for name, lies in RECORDS.items() for lie in lies])
def test_a_record_that_lies_with_a_digest_is_found(path, name, lie):
    store = open_store(path)
    forge(store, 1, lambda record: record.update({name: lie}))
    with pytest.raises(IntegrityError, match=r"image 'b\.png': (the completion record |its record )"):
        store.read("logits", 1)
    assert pipe("verify", path).exit_code == 4


ARRAYS = {
    "sha256": [None, 1, [], "0" * 64],
    "chunks": [None, [], "x", {}, {"c/1/0/0/0": None}, {"c/1/0/0/0": 7}, {"../../../etc/passwd": "00000000"}],
}


@pytest.mark.parametrize(("name", "lie"), [(name, lie) for name, lies in ARRAYS.items() for lie in lies])
def test_an_array_that_lies_with_a_digest_is_found(path, name, lie):
    forge(open_store(path), 1, lambda record: record["arrays"]["logits"].update({name: lie}))
    result = pipe("verify", path)
    assert result.exit_code == 4
    assert "records/1.json: image 'b.png': " in result.stdout or "the values do not have the digest" in result.stdout
    assert "/etc/passwd" not in result.stdout


@pytest.mark.parametrize("text", ['{"image": 0, "image": 1}', '{"sha256": NaN}', '{"image": 1e999}'])
def test_a_record_that_is_no_json_is_damage(path, text):
    (path / "records/1.json").write_text(text, encoding="utf-8")
    with pytest.raises(IntegrityError, match=r"image 'b\.png': the completion record is damaged \("):
        open_store(path).record(1)


def test_a_record_names_its_image_by_an_integer_and_not_by_what_equals_one(path):
    forge(open_store(path), 1, lambda record: record.update(image=True))
    with refused(
        f"{path}: image 'b.png': the completion record is damaged "
        "(its image is no integer, or its sources or chunks are no object)"
    ):
        open_store(path).record(1)
