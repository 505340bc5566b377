"""`pipe show`: what it says of a store, whole or not, and that names cannot act on the terminal."""

import json
import re
from dataclasses import replace

import pytest
from click.testing import CliRunner, Result
from conftest import fails
from stores import fill, make_schema

from logitpipe.cache import open_store
from logitpipe.cli import cli
from logitpipe.console.text import aligned, ascii_only, byte_size, counted, listed, printable


def show(*words: object) -> Result:
    return CliRunner().invoke(cli, ["show", *map(str, words)])


def test_all_that_a_store_is(tmp_path):
    schema = replace(make_schema("pixel"), facts={"channels": 5, "depth": 2}, software={"torch": "2.13.0"})
    path = fill(tmp_path / "store", schema)
    result = show(path)
    assert (result.exit_code, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    size, arrays = lines[11], lines[16:]
    assert lines[:11] + lines[12:16] == [
        f"{path}: 3 of 3 images",
        "network        enet, a pixel network",
        "facts          channels 5, depth 2",
        f"weights        sha256 {'00' * 32}",
        "data set       Tiny",
        "classes        5: road, car, sky, tree, void",
        "void class     void (channel 4)",
        "input          8x12 pixels",
        "masks          up to 12x16 pixels",
        "preprocessing  -",
        "precision      float16",
        "software       torch 2.13.0",
        "format         version 1",
        f"fingerprint    {open_store(path).fingerprint}",
        "",
    ]
    assert re.fullmatch(r"size {11}\d\.\d kB on disk, 3\.7 kB decoded, \d\.\d\d to 1", size)
    columns = [re.split(r" {2,}", line) for line in arrays]
    assert columns[0] == ["array", "dimensions", "shape", "chunk", "dtype", "on disk", "bytes/value"]
    assert columns[1][:5] == ["logits", "image, class, y, x", "3x5x8x12", "1x5x8x12", "float16"]
    assert [row[0] for row in columns[1:]] == ["logits", "labels", "label_size", "preview"]
    assert len({len(line) for line in arrays}) == 1


def test_a_mask_store_has_its_own_arrays(tmp_path):
    lines = show(fill(tmp_path / "store", make_schema("mask"))).stdout.splitlines()
    assert "network        eomt, a mask network" in lines
    assert "void class     none" in lines
    assert any(line.startswith("class_logits  image, query, class_or_none") for line in lines)


def test_how_pictures_came_to_the_network_and_where_the_sigmoid_is(tmp_path):
    schema = replace(make_schema("mask", version=2, windows=2), preprocessing={"resize": "windows:8", "range": 1})
    lines = show(fill(tmp_path / "windows", schema)).stdout.splitlines()
    assert lines[7:12] == [
        "input          8x12 pixels",
        "resize         windows:8",
        "windows        up to 2 in an image",
        "sigmoid at     the size of a window, to which mask logits are resampled",
        "masks          up to 12x16 pixels",
    ]
    assert "preprocessing  range 1" in lines
    plain = show(fill(tmp_path / "size", replace(make_schema("mask", version=2), sigmoid_at=(16, 24)))).stdout
    assert "sigmoid at     16x24, to which mask logits are resampled" in plain
    assert not re.search("^(windows|resize) ", plain, re.M)


def test_json_tells_the_sizes_that_the_files_have(tmp_path):
    path = fill(tmp_path / "store", make_schema("mask"))
    document = json.loads(show(path, "--json").stdout)
    (store,) = document["stores"]
    assert (document["schema_version"], store["store"], store["images_done"], store["images_total"]) == (
        1,
        str(path),
        3,
        3,
    )
    assert store["images"] == ["a.png", "b.png", "c.png"]
    for name, array in store["arrays"].items():
        chunks = [file for file in (path / name / "c").rglob("*") if file.is_file()]
        assert array["stored_bytes"] == sum(file.stat().st_size for file in chunks)
    assert store["arrays"]["class_logits"]["values"] == 3 * 5 * 5
    assert store["arrays"]["class_logits"]["decoded_bytes"] == 3 * 5 * 5 * 4
    assert store["stored_bytes"] == sum(array["stored_bytes"] for array in store["arrays"].values())


def test_an_incomplete_store_is_no_failure(tmp_path):
    path = fill(tmp_path / "store", make_schema("pixel", images=[f"{i}.png" for i in range(6)]), images=[1])
    result = show(path)
    assert result.exit_code == 0
    assert result.stdout.splitlines()[:2] == [
        f"{path}: 1 of 6 images",
        "missing        0.png, 2.png, 3.png and 2 more",
    ]
    assert json.loads(show(path, "--json").stdout)["stores"][0]["images_missing"] == [
        f"{i}.png" for i in (0, 2, 3, 4, 5)
    ]


def test_several_stores(tmp_path):
    paths = [fill(tmp_path / kind, make_schema(kind)) for kind in ("pixel", "mask")]
    blocks = show(*paths).stdout.split("\n\n")
    assert [block.splitlines()[0] for block in blocks[::2]] == [f"{path}: 3 of 3 images" for path in paths]
    assert len(json.loads(show(*paths, "--json").stdout)["stores"]) == 2


def test_names_cannot_act_on_the_terminal(tmp_path):
    hostile = "a\x1b[2J\nimages: 9\r.png"
    schema = replace(make_schema("pixel", images=[hostile, "b.png"]), dataset="x\x1b]0;y\x07", network="e\u202enet")
    result = show(fill(tmp_path / "store", schema, images=[1]))
    assert "missing        a\\x1b[2J\\nimages: 9\\r.png" in result.stdout
    assert all(line.isprintable() for line in result.stdout.split("\n"))


@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_what_is_no_store(tmp_path, flags):
    line = f"pipe: {tmp_path}: expected a logit store, but there is no zarr.json; `pipe infer` makes one"
    fails(show(tmp_path, *flags), line)


def test_no_store_is_wrong_usage():
    fails(show(), "pipe: Missing argument 'STORE...'.", 2)


def test_text():
    assert printable("caf\u00e9 \u4e2d\n\x00\ud800\u200b") == "caf\u00e9 \u4e2d\\n\\x00\\ud800\\u200b"
    assert ascii_only("caf\u00e9\n") == "caf\\xe9\\n"
    assert aligned([["a", "1"], ["bcd", "22"]], right=[1]) == ["a     1", "bcd  22"]
    assert [byte_size(n) for n in (0, 999, 1000, 999_949, 999_950, 158_100_000, 10**15)] == [
        "0 B",
        "999 B",
        "1.0 kB",
        "999.9 kB",
        "1.0 MB",
        "158.1 MB",
        "1000.0 TB",
    ]
    assert (counted(1, "image"), counted(1200, "image")) == ("1 image", "1,200 images")
    assert (listed("abc"), listed("abcde")) == ("a, b, c", "a, b, c and 2 more")
