"""Names made to harm, and numbers without end: names are data, and act on no path, terminal or table."""

import os
import re
import unicodedata

import pytest
import torch
from click.testing import CliRunner
from conftest import fails, refused, write_sample
from hostile import ESCAPES, RAW, posix

from logitpipe.cache import PipeError, open_store
from logitpipe.cli import cli
from logitpipe.stages.infer.data.datasets import read_dataset

pytestmark = pytest.mark.usefixtures("within_limits")

SIZE = (16, 32)

NAMES = {
    "newline": "a\nb.png",
    "escapes": ESCAPES.replace("\x00", "") + ".png",
    "251 letters": "x" * 251 + ".png",
    "right to left": "a\u202egnp.png",
    "formula": "=1+1.png",
    "option": "-rf.png",
    "digits": "1" * 240 + ".png",
    "backslashes": "a\\..\\..\\b.png",
    "not UTF-8": os.fsdecode(b"caf\xe9.png"),
    "decomposed": "e\u0301.png",
    "dots": "a..b...png",
    "Arabic digits": "\u0663.png",
    "superscript": "\u00b2.png",
    "emoji": "\U0001f6a7.png",
    "spaces": "  .png",
    "device": "NUL.png",
    "percent": "%s%n.png",
}


@posix
@pytest.mark.parametrize("kind", NAMES)
def test_any_name_is_data(run, data_root, tmp_path, kind):
    name = NAMES[kind]
    write_sample(data_root / "Tiny", name, SIZE, seed=9)
    result = run(*("--device", "cpu"))
    assert result.exit_code == 0
    store = open_store(tmp_path / "store")
    names = store.schema.images
    assert len(names) == 6
    assert name in names
    assert store.record(names.index(name)).name == name
    files = [file.name for file in store.path.rglob("*") if file.is_file()]
    assert all(re.fullmatch(r"(zarr|images|\d+)\.json|c[.\d]+|lock", file) for file in files)
    for command in ("show", "verify"):
        shown = CliRunner().invoke(cli, [command, str(store.path)])
        assert shown.exit_code == 0
        assert not set(shown.output) & set(RAW)


@posix
def test_names_that_differ_in_case_alone_share_a_mask_elsewhere(data_root):
    for name in ("A.png", "a.png"):
        write_sample(data_root / "Tiny", name, SIZE, seed=1)
    with refused(
        f"{data_root}/Tiny/images: each picture needs a mask of its own, but A.png and a.png "
        "differ only in ending, case or Unicode form; rename or remove one"
    ):
        read_dataset(data_root, "Tiny")


@posix
def test_names_that_look_the_same_share_a_mask_elsewhere(data_root):
    composed = "\u00e9.png"
    decomposed = unicodedata.normalize("NFD", composed)
    for name in (composed, decomposed):
        write_sample(data_root / "Tiny", name, SIZE, seed=1)
    if len(list((data_root / "Tiny/images").iterdir())) < 7:
        pytest.skip("this file system takes both names for one")
    with pytest.raises(PipeError, match=r"differ only in ending, case or Unicode form$"):
        read_dataset(data_root, "Tiny")


@posix
def test_a_name_of_251_letters_without_a_mask_is_one_line(run, data_root):
    name = "x" * 251
    write_sample(data_root / "Tiny", f"{name}.png", SIZE, seed=9)
    (data_root / "Tiny/labels_masks" / f"{name}.png").unlink()
    result = run()
    assert result.exit_code == 0
    assert "Tiny: 6 of 6 images" in result.stderr


@posix
@pytest.mark.parametrize("name", ["../../../etc", "/etc", "..", ".", "", "Tiny/../Tiny", "\x1b[31m\nTiny", "x" * 300])
def test_the_name_of_a_data_set_is_no_path(run, tmp_path, name):
    result = run(dataset=name)
    assert (result.exit_code, result.stdout, len(result.stderr.splitlines())) == (1, "", 1)
    assert result.stderr.startswith("pipe: --dataset ")
    assert not set(result.stderr) & set(RAW)
    assert not (tmp_path / "store").exists()


@posix
def test_the_name_of_a_folder_does_not_act_on_the_terminal(run, data_root, tmp_path):
    name = ESCAPES.replace("\x00", "")
    (data_root / "Tiny").rename(data_root / name)
    result = run(dataset="all", out="stores")
    assert result.exit_code == 0
    assert not set(result.output) & set(RAW)
    assert len(result.stderr.splitlines()) == 4
    assert open_store(tmp_path / "stores" / f"{name}.zarr").schema.dataset == name


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        (("--shard", "0/" + "1" * 5000), "pipe: Invalid value for '--shard': expected I/N with 0 <= I < N, such as"),
        (("--input-size", "999999x999999"), "pipe: Both sides of the network's input must be multiples of 4 pixels"),
        (("--input-size", "999992x999992"), "pipe: The network's input may have at most 67108864 pixels; found 9999"),
        (("--input-size", "99999x" + "9" * 5000), "pipe: Invalid value for '--input-size': expected HEIGHTxWIDTH"),
    ],
)
def test_numbers_beyond_all_bounds_are_wrong_usage(run, flags, line):
    result = run(*flags)
    assert (result.exit_code, result.stdout, len(result.stderr.splitlines())) == (2, "", 1)
    assert result.stderr.startswith(line)


def test_an_input_that_no_store_could_hold_is_one_line(run, tmp_path):
    torch.save({"gain": torch.zeros(70)}, tmp_path / "weights.pth")
    (tmp_path / "classes.txt").write_text("\n".join(f"class {index}" for index in range(70)))
    fails(
        run("--input-size", "8192x8192", "--classes", str(tmp_path / "classes.txt")),
        "pipe: enet over Tiny: no store can hold these logits (an image would have 9445573632 bytes, more than "
        "8589934592); choose a smaller --resize, or take the largest pictures out",
    )
