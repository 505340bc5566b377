"""`pipe verify`: a sound store is called sound, and nothing that is done to one stays unsaid."""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from conftest import content, fails
from stores import fill, make_schema, noise_values

from logitpipe.cache import StoreWriter
from logitpipe.cache.format import records
from logitpipe.cache.format.codec import encode
from logitpipe.cache.format.records import ArrayRecord
from logitpipe.cli import cli

REMEDY = (
    "pipe: to mend a store, call the `pipe infer` that made it once more, with --repair: "
    "it computes the damaged images again and touches no others"
)


def verify(*paths: object) -> Result:
    return CliRunner().invoke(cli, ["verify", *map(str, paths)])


@pytest.fixture
def pixel(tmp_path: Path) -> Path:
    return fill(tmp_path / "store", make_schema("pixel"))


def flip(file: Path, place: int, bit: int = 0) -> None:
    data = bytearray(file.read_bytes())
    data[place] ^= 1 << bit
    file.write_bytes(data)


def swap(one: Path, other: Path) -> None:
    data = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(data)


def edit(file: Path, **changes: object) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def sign_again(store: Path, image: int, **arrays: ArrayRecord) -> None:
    """Change a completion record and give it the digest that it then should have."""
    file = store / records.key(image)
    record = records.parse(file.read_bytes())
    file.write_bytes(replace(record, arrays={**record.arrays, **arrays}).to_bytes())


def put(store: Path, array: str, image: int, values: np.ndarray) -> None:
    """Put other values in place of one image's and commit them as if nothing were wrong."""
    encoded, key = encode(values), f"c/{image}" + "/0" * values.ndim
    (store / array / key).write_bytes(encoded.to_bytes())
    sign_again(store, image, **{array: ArrayRecord(records.digest(values), {key: encoded.checksum})})


@pytest.mark.parametrize("kind", ["pixel", "mask"])
@pytest.mark.parametrize("precision", ["float16", "float32"])
def test_a_sound_store(tmp_path, kind, precision):
    path = fill(tmp_path / "store", make_schema(kind, precision))
    before = content(path)
    result = verify(path)
    stored = sum(len(data) for name, data in before.items() if "/c/" in name)
    chunks = 3 * (4 if kind == "pixel" else 5)
    assert result.exit_code == 0
    assert result.stdout == f"{path}: 3 images, {chunks} chunks, {stored / 1000:.1f} kB: sound\n"
    assert re.fullmatch(rf"reading {path}: 0/3 images\nreading {path}: 3/3 images, .*, done in .*\n", result.stderr)
    assert content(path) == before


def test_an_image_of_several_chunks_with_padding(tmp_path):
    schema = replace(make_schema("pixel", "float32", images=["a.png"]), logits_shape=(5, 701, 512))
    path = fill(tmp_path / "store", schema)
    assert len(list((path / "logits" / "c" / "0" / "0").iterdir())) == 2
    assert verify(path).stdout.startswith(f"{path}: 1 image, 5 chunks, ")
    (path / "logits/c/0/0/1/0").unlink()
    flip(path / "logits/c/0/0/0/0", 100)
    damages = verify(path).stdout.splitlines()[:-1]
    assert [line.split(": ")[0] for line in damages] == [f"{path}/logits/c/0/0/{row}/0" for row in (0, 1)]


@pytest.mark.parametrize("images", [[1], [0, 2]])
def test_an_incomplete_store_is_sound_as_far_as_it_goes(tmp_path, images):
    path = fill(tmp_path / "store", make_schema("pixel"), images=images)
    result = verify(path)
    missing = [name for i, name in enumerate(("a.png", "b.png", "c.png")) if i not in images]
    assert result.exit_code == 3
    assert result.stdout.startswith(f"{path}: {len(images)} image")
    assert result.stdout.endswith(f": sound; missing: {len(missing)} of 3 images ({', '.join(missing)})\n")


def test_an_interrupted_commit_is_no_damage(pixel):
    (pixel / "records/2.json").unlink()
    (pixel / "preview/c/2/0/0/0").unlink()
    flip(pixel / "logits/c/2/0/0/0", 30)
    result = verify(pixel)
    assert (result.exit_code, len(result.stdout.splitlines())) == (3, 1)


def nan_logits(store: Path) -> None:
    values = noise_values(make_schema("pixel"), 1, (0,))["logits"]
    values[0, 0, :2] = np.nan, np.inf
    put(store, "logits", 1, values)


def other_digest(store: Path) -> None:
    committed = records.parse((store / "records/1.json").read_bytes()).arrays["preview"]
    sign_again(store, 1, preview=replace(committed, sha256="0" * 64))


def cut(file: Path, end: int) -> None:
    file.write_bytes(file.read_bytes()[:end])


DIFFERS = "checksum [0-9a-f]{8} was committed, [0-9a-f]{8} was found"
BROKEN = "checksum [0-9a-f]{8} is stored, but the bytes give [0-9a-f]{8}"
OTHER_CHUNKS = "the completion record lists other chunks than the store's arrays have"
OTHER_ARRAY = "the array is not described as the attributes in zarr.json imply"
OTHER_VALUES = "the values do not have the digest that the completion record names"
NO_FIT = "a mask of (0x5|12x17) does not fit the store's 12x16"
NO_NUMBERS = "finite logits were expected, 2 of 480 are NaN or infinite"

DAMAGES: dict[str, tuple[Callable[[Path], object], str, str | None, str]] = {
    "bit of a chunk": (lambda s: flip(s / "logits/c/1/0/0/0", 40), "logits/c/1/0/0/0", "b.png", BROKEN),
    "bit of a checksum": (lambda s: flip(s / "labels/c/1/0/0", -1), "labels/c/1/0/0", "b.png", DIFFERS),
    "chunk cut short": (lambda s: cut(s / "preview/c/2/0/0/0", -9), "preview/c/2/0/0/0", "c.png", DIFFERS),
    "chunk emptied": (lambda s: cut(s / "label_size/c/0/0", 0), "label_size/c/0/0", "a.png", DIFFERS),
    "chunk deleted": (lambda s: (s / "labels/c/0/0/0").unlink(), "labels/c/0/0/0", "a.png", "the chunk is missing"),
    "record edited": (
        lambda s: edit(s / "records/1.json", name="c.png"),
        "records/1.json",
        "b.png",
        r"the completion record is damaged \(its digest does not match\)",
    ),
    "record cut short": (
        lambda s: cut(s / "records/1.json", 50),
        "records/1.json",
        "b.png",
        r"the completion record is damaged \(.*\)",
    ),
    "record in another's place": (
        lambda s: shutil.copy(s / "records/0.json", s / "records/1.json"),
        "records/1.json",
        "b.png",
        "the completion record is that of 'a.png'",
    ),
    "no chunks": (lambda s: sign_again(s, 0, labels=ArrayRecord("", {})), "records/0.json", "a.png", OTHER_CHUNKS),
    "an array more": (lambda s: sign_again(s, 0, more=ArrayRecord("", {})), "records/0.json", "a.png", OTHER_CHUNKS),
    "another digest": (other_digest, "preview/c/1", "b.png", OTHER_VALUES),
    "logits that are no numbers": (nan_logits, "logits/c/1", "b.png", NO_NUMBERS),
    "mask of no height": (lambda s: put(s, "label_size", 2, np.int32([0, 5])), "label_size/c/2", "c.png", NO_FIT),
    "mask too wide": (lambda s: put(s, "label_size", 2, np.int32([12, 17])), "label_size/c/2", "c.png", NO_FIT),
    "shape": (lambda s: edit(s / "logits/zarr.json", shape=[3, 5, 8, 13]), "logits/zarr.json", None, OTHER_ARRAY),
    "float": (lambda s: edit(s / "logits/zarr.json", zarr_format=3.0), "logits/zarr.json", None, OTHER_ARRAY),
    "no metadata": (lambda s: (s / "labels/zarr.json").unlink(), "labels/zarr.json", None, "the file is missing"),
    "no JSON": (lambda s: cut(s / "labels/zarr.json", 9), "labels/zarr.json", None, r"the file is not JSON \(.*\)"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_told_with_file_image_and_kind(pixel, name):
    damage, file, image, kind = DAMAGES[name]
    damage(pixel)
    result = verify(pixel)
    assert result.exit_code == 4
    line, last = result.stdout.splitlines()
    image_part = f"image {image!r}: " if image else ""
    assert re.fullmatch(re.escape(f"{pixel / file}: {image_part}") + kind, line)
    assert re.fullmatch(rf"{pixel}: 3 images, \d+ chunks, \d+\.\d kB: damaged in 1 place", last)
    assert result.stderr.splitlines()[-1] == REMEDY


def test_all_damages_are_told(pixel):
    for name in ("bit of a chunk", "bit of a checksum", "chunk cut short", "no metadata"):
        DAMAGES[name][0](pixel)
    swap(pixel / "preview/c/0/0/0/0", pixel / "preview/c/1/0/0/0")
    (pixel / "records/2.json").unlink()
    result = verify(pixel)
    assert result.exit_code == 4
    *lines, last = result.stdout.splitlines()
    assert [line.split(": ")[0] for line in lines] == [
        f"{pixel}/{file}"
        for file in (
            "labels/zarr.json",
            "preview/c/0/0/0/0",
            "logits/c/1/0/0/0",
            "labels/c/1/0/0",
            "preview/c/1/0/0/0",
        )
    ]
    assert last.endswith(": damaged in 5 places; missing: 1 of 3 images (c.png)")


def test_records_of_another_store_are_damage(tmp_path, pixel):
    other = fill(tmp_path / "other", replace(make_schema("pixel"), weights_sha256="11" * 32))
    shutil.copy(other / "records/1.json", pixel / "records/1.json")
    assert verify(pixel).stdout.splitlines()[0] == (
        f"{pixel}/records/1.json: image 'b.png': the completion record belongs to another store"
    )


def test_damaged_metadata_of_the_whole_ends_the_check(pixel):
    document = json.loads((pixel / "zarr.json").read_text())
    document["attributes"]["dataset"] = "Other"
    (pixel / "zarr.json").write_text(json.dumps(document))
    result = verify(pixel)
    assert result.exit_code == 4
    assert result.stdout.splitlines() == [
        f"{pixel}: zarr.json: the attributes do not match their fingerprint",
        f"{pixel}: damaged, and nothing else was checked, as its metadata says what to check",
    ]


def test_a_chunk_that_cannot_be_read_is_damage(pixel):
    chunk = pixel / "labels/c/1/0/0"
    chunk.unlink()
    chunk.mkdir()
    result = verify(pixel)
    assert result.exit_code == 4
    assert result.stdout.startswith(f"{chunk}: image 'b.png': {chunk}: cannot be read (")


def test_strays_are_mentioned_and_do_no_harm(pixel):
    for stray in (".DS_Store", "logits/c/9/0/0/0", "records/007.json", "labels/c/0/0/0.5f.partial"):
        (pixel / stray).parent.mkdir(parents=True, exist_ok=True)
        (pixel / stray).write_bytes(b"?")
    result = verify(pixel)
    assert result.exit_code == 0
    assert result.stdout.endswith(": sound\n")
    assert [line for line in result.stderr.splitlines() if not line.startswith("reading")] == [
        f"{pixel}/{stray}: not part of a store; it does no harm"
        for stray in (".DS_Store", "labels/c/0/0/0.5f.partial", "logits/c/9/0/0/0", "records/007.json")
    ]


def test_the_worst_of_several_stores_decides(tmp_path, pixel):
    part = fill(tmp_path / "part", make_schema("pixel"), images=[0])
    assert verify(pixel, part).exit_code == 3
    (pixel / "labels/c/0/0/0").unlink()
    result = verify(pixel, part)
    assert result.exit_code == 4
    assert len(result.stdout.splitlines()) == 3


def test_what_is_no_store(tmp_path):
    fails(
        verify(tmp_path),
        f"pipe: {tmp_path}: expected a logit store, but there is no zarr.json; `pipe infer` makes one",
    )


def test_names_cannot_act_on_the_terminal(tmp_path):
    schema = make_schema("pixel", images=["a\x1b[2J\n.png", "b\x1b.png"])
    path = fill(tmp_path / "store", schema, images=[0])
    (path / "labels/c/0/0/0").unlink()
    output = verify(path).stdout
    assert all(line.isprintable() for line in output.split("\n"))
    assert "image 'a\\x1b[2J\\n.png': the chunk is missing" in output


@pytest.mark.parametrize("kind", ["pixel", "mask"])
def test_no_flipped_bit_is_silent(tmp_path, kind):
    path = fill(tmp_path / "store", make_schema(kind, images=["a.png"]))
    noise = np.random.default_rng(0)
    for file in sorted(file for file in path.rglob("*") if file.is_file()):
        whole = file.read_bytes()
        for place in noise.integers(0, len(whole), 6):
            flip(file, int(place), int(noise.integers(8)))
            assert verify(path).exit_code in (1, 4) or json.loads(file.read_bytes()) == json.loads(whole)
            file.write_bytes(whole)
    assert verify(path).exit_code == 0


@pytest.mark.parametrize("kind", ["pixel", "mask"])
def test_no_file_cut_short_or_deleted_is_silent(tmp_path, kind):
    path = fill(tmp_path / "store", make_schema(kind, images=["a.png"]))
    for file in sorted(file for file in path.rglob("*") if file.is_file()):
        whole = file.read_bytes()
        for length in (0, 1, len(whole) // 2, len(whole) - 1):
            file.write_bytes(whole[:length])
            assert verify(path).exit_code == 4
        file.unlink()
        expected = 3 if file.parent.name == "records" else 1 if file == path / "zarr.json" else 4
        assert verify(path).exit_code == expected
        file.write_bytes(whole)


def test_a_store_that_a_run_goes_on_with_is_sound_again(pixel):
    flip(pixel / "logits/c/1/0/0/0", 40)
    (pixel / "records/1.json").unlink()
    schema = make_schema("pixel")
    StoreWriter(pixel, schema).commit(1, noise_values(schema, 1, (0, 1, 255)), {})
    assert verify(pixel).exit_code == 0
