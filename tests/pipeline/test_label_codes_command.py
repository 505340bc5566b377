"""`pipe labels`: the codes of a folder of masks are counted and judged."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from conftest import fails
from PIL import Image

from logitpipe.cli import cli


def labels(*words: object) -> Result:
    return CliRunner().invoke(cli, ["labels", *map(str, words)])


def masks(folder: Path, *codes: Sequence[int]) -> Path:
    """Write masks of one row each."""
    folder.mkdir(parents=True, exist_ok=True)
    for i, row in enumerate(codes):
        Image.fromarray(np.array([row], np.uint8)).save(folder / f"{i}.png")
    return folder


def test_the_table(tmp_path):
    folder = masks(tmp_path / "masks", [0] * 1500, [0, 0, 2, 255])
    result = labels(folder)
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        f"{folder}: 2 masks, 1,504 pixels",
        "",
        "code  pixels     share   masks  meaning",
        "   0   1,502  99.8670%  2 of 2  normal",
        "   2       1   0.0665%  1 of 2  anomaly",
        " 255       1   0.0665%  1 of 2  void",
        "",
        "These codes are what the protocols expect: no --label-codes needed.",
    ]
    assert result.stderr.startswith("reading: 0/2 masks\n")


def test_json_equals_a_count_by_hand(data_root):
    document = json.loads(labels(data_root / "Tiny", "--json").stdout)
    files = sorted((data_root / "Tiny" / "labels_masks").iterdir())
    pixels = [np.asarray(Image.open(file)).ravel() for file in files]
    found, counts = np.unique(np.concatenate(pixels), return_counts=True)
    assert (document["schema_version"], document["masks"], document["pixels"]) == (1, 5, counts.sum())
    assert document["folder"] == str(data_root / "Tiny")
    assert document["fits_protocols"] is True
    assert [(code["code"], code["pixels"], code["meaning"]) for code in document["codes"]] == [
        (code, count, meaning)
        for code, count, meaning in zip(found, counts, ("normal", "anomaly", "void"), strict=True)
    ]
    assert sum(code["share"] for code in document["codes"]) == pytest.approx(1)
    assert [code["masks"] for code in document["codes"]] == [5, 5, 5]


def test_the_data_set_and_its_folder_of_masks_are_one(data_root):
    one, other = (
        json.loads(labels(folder, "--json").stdout)
        for folder in (data_root / "Tiny", data_root / "Tiny" / "labels_masks")
    )
    assert one["codes"] == other["codes"]


@pytest.mark.parametrize(
    ("codes", "hint"),
    [
        (
            [0, 13],
            "The protocols do not know code 13: say what every code means with "
            "`--label-codes normal=...,anomaly=...,void=...`.",
        ),
        (
            [3, 1, 14],
            "The protocols do not know codes 3, 14: say what every code means with "
            "`--label-codes normal=...,anomaly=...,void=...`.",
        ),
        (
            [0, 255],
            "The protocols know these codes, but there is no anomaly pixel among them: figures need both. "
            "If the codes mean something else here, say so with `--label-codes normal=...,anomaly=...,void=...`.",
        ),
        (
            [255],
            "The protocols know these codes, but there is no normal and no anomaly pixel among them: "
            "figures need both. "
            "If the codes mean something else here, say so with `--label-codes normal=...,anomaly=...,void=...`.",
        ),
    ],
)
def test_codes_that_do_not_fit(tmp_path, codes, hint):
    folder = masks(tmp_path, codes)
    assert labels(folder).stdout.splitlines()[-1] == hint
    assert json.loads(labels(folder, "--json").stdout)["fits_protocols"] is False


def test_only_masks_are_read(tmp_path):
    folder = masks(tmp_path, [0, 1])
    Image.fromarray(np.array([[1, 1]], np.uint8)).convert("RGB").save(folder / "1.WEBP", lossless=True)
    for other in (".hidden.png", "notes.txt", "a.jpg"):
        (folder / other).write_text("none")
    document = json.loads(labels(folder, "--json").stdout)
    assert [(code["code"], code["pixels"]) for code in document["codes"]] == [(0, 1), (1, 3)]


def test_no_folder(tmp_path):
    fails(labels(tmp_path / "x"), f"pipe: {tmp_path / 'x'}: expected a folder of masks, there is none")


def test_no_masks(tmp_path):
    fails(
        labels(tmp_path),
        f"pipe: {tmp_path}: expected masks, there are none; "
        "name a folder of masks, or a data set of a known layout (`pipe list layouts`)",
    )


def test_a_mask_that_cannot_be_read(tmp_path):
    masks(tmp_path, [0], [1])
    (tmp_path / "1.png").write_text("none")
    formats = "PNG, JPEG, WEBP, TIFF, BMP, PPM"
    line = f"{tmp_path}/1.png: expected an image ({formats}), and this file is none; take it out or fetch it anew"
    fails(labels(tmp_path), f"pipe: {line}")


def test_a_mask_in_colours(tmp_path):
    Image.fromarray(np.array([[[1, 2, 3]]], np.uint8)).save(tmp_path / "0.png")
    result = labels(tmp_path)
    assert (result.exit_code, result.stdout) == (1, "")
    assert f"{tmp_path}/0.png: a mask must hold one code per pixel" in result.stderr


def test_coloured_and_deep_files_are_passed_over_and_named(tmp_path):
    folder = masks(tmp_path / "labels_masks", [0, 1])
    Image.fromarray(np.array([[[1, 2, 3]]], np.uint8)).save(folder / "0_color.png")
    Image.fromarray(np.array([[700]], np.uint16)).save(folder / "0_depth.png")
    result = labels(folder, "--json")
    document = json.loads(result.stdout)
    assert (document["masks"], document["pixels"], document["skipped"]) == (1, 2, ["0_color.png", "0_depth.png"])
    line = "passed over, as they hold no codes of 8 bits: 2 files, 0_color.png, 0_depth.png"
    assert result.stderr.splitlines()[-1] == line


def test_codes_are_judged_by_the_layout(tmp_path):
    name = "01_Street_000000_000080"
    for kind, end, values in (
        ("leftImg8bit", "leftImg8bit", [9, 9, 9]),
        ("gtCoarse", "gtCoarse_labelIds", [0, 1, 30]),
    ):
        folder = tmp_path / kind / "test" / "01_Street"
        folder.mkdir(parents=True)
        Image.fromarray(np.array([values], np.uint8)).save(folder / f"{name}_{end}.png")
    assert labels(tmp_path).stdout.splitlines()[3:] == [
        "   0       1  33.3333%  1 of 1  void",
        "   1       1  33.3333%  1 of 1  normal",
        "  30       1  33.3333%  1 of 1  anomaly",
        "",
        "These codes are what the layout has (normal=1,anomaly=2-200,void=0+255): no --label-codes needed.",
    ]


def test_torch_is_not_needed(tmp_path):
    words = ["labels", str(masks(tmp_path, [0, 1]))]
    code = f"import sys; sys.modules['torch'] = None; from logitpipe.cli import cli; cli({words!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("no --label-codes needed.\n")


def test_the_real_masks_fit(real_data):
    for name in ("RoadAnomaly21", "fs_static"):
        document = json.loads(labels(real_data / name, "--json").stdout)
        assert document["fits_protocols"] is True
        assert document["masks"] >= 10
