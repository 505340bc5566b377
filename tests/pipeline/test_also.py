"""`pipe score --also`: the benchmarks' own figures in tables, JSON and files."""

import csv
import json

import pytest
from click.testing import CliRunner
from conftest import fails

from logitpipe.cli import cli
from logitpipe.stages.score.figures.components import PER_CENT

CODES = "road=0,car=1,sky=2"


def score(store, *flags):
    return CliRunner().invoke(cli, ["score", str(store), "--methods", "msp,entropy", *map(str, flags)])


def rows_of(file):
    return list(csv.DictReader(file.read_text().splitlines()))


@pytest.mark.slow
def test_components_in_files(pixel_store, tmp_path):
    """One row for each pair, threshold and size of objects; the same in JSON and CSV."""
    out = tmp_path / "out"
    result = score(pixel_store, "--temperatures", "0.5,1", "--also", "components", "--threshold", "0.3", "--out", out)
    assert result.exit_code == 0, result.stderr
    rows = rows_of(out / "components.csv")
    document = json.loads((out / "components.json").read_text())
    assert len(rows) == len(document["components"]) == 4 * 7
    assert {row["rule"] for row in rows} == {"best-f1", "official", "given"}
    for row, record in zip(rows, document["components"], strict=True):
        assert row["f1"] == ("" if record["f1"] is None else repr(record["f1"]))
        assert list(row) == list(record)
        assert [int(row[f"tp_{t}"]) + int(row[f"fn_{t}"]) for t in PER_CENT] == [int(row["components_truth"])] * 11
    assert not (out / "closed_set.csv").exists()
    assert "Components: Tiny, protocol standard, per cent" in result.stdout


@pytest.mark.slow
def test_closed_set(pixel_store, tmp_path):
    out = tmp_path / "out"
    flags = ("--also", "closed-set", "--class-codes", CODES, "--label-codes", "normal=0,anomaly=1,void=255")
    result = score(pixel_store, *flags, "--temperatures", "0.5,1,2", "--out", out)
    assert result.exit_code == 0, result.stderr
    rows = rows_of(out / "closed_set.csv")
    assert [float(row["temperature"]) for row in rows] == [0.5, 1, 2]
    assert [row["least_nll"] for row in rows].count("True") == 1
    assert {"iou_road", "iou_tree", "nll", "brier", "ece", "miou", "accuracy"} <= set(rows[0])
    assert rows[0]["iou_road"] == rows[2]["iou_road"]
    assert len({row["nll"] for row in rows}) == 3
    assert "label space own" in result.stdout


@pytest.mark.slow
def test_json_is_one_object(mask_store):
    flags = ("--also", "components,closed-set", "--class-codes", CODES, "--json")
    document = json.loads(score(mask_store, *flags).stdout)
    assert len(document["results"]) == 2
    assert len(document["components"]) == 2 * 6
    (row,) = document["closed_set"]
    assert (row["label_space"], row["temperature"], row["pixels"]) == ("own", 1, document["results"][0]["pixels"])


def test_what_is_not_asked_for_any_more_is_removed(pixel_store, tmp_path):
    """Files of replaced results would be of other rows."""
    out = tmp_path / "out"
    assert score(pixel_store, "--also", "components", "--out", out).exit_code == 0
    assert score(pixel_store, "--out", out).exit_code == 1
    assert score(pixel_store, "--out", out, "--overwrite").exit_code == 0
    assert not list(out.glob("components.*"))


def test_a_store_without_classes_says_so_in_one_line(pixel_store):
    fails(
        score(pixel_store, "--also", "closed-set"),
        f"pipe: {pixel_store}: closed-set figures need masks that name classes, and those of Tiny name none of the "
        "label space own; say which code stands for which class with --class-codes",
    )


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--also", "panoptic"), "'panoptic' is none of components, closed-set, open-set"),
        (("--also", "components", "--format", "csv"), "--format csv prints one table"),
        (
            ("--also", "closed-set", "--class-codes", "road"),
            "train-ids, label-ids or road=0,sidewalk=1,... is expected",
        ),
    ],
)
def test_refusals(pixel_store, flags, message):
    result = score(pixel_store, *flags)
    assert result.exit_code != 0
    assert result.stdout == ""
    assert message in result.stderr


def test_open_set(pixel_store, tmp_path):
    """Known classes and the unknown in one mask; without classes there is the rate alone, and a word on stderr."""
    out = tmp_path / "out"
    result = score(pixel_store, "--also", "open-set", "--class-codes", "road=0", "--out", out)
    assert result.exit_code == 0, result.stderr
    rows = rows_of(out / "open_set.csv")
    assert [row["rule"] for row in rows] == ["tpr95", "fpr5", "best-f1"] * 2
    assert all(0 <= float(row["open_miou"]) <= float(row["closed_miou"]) for row in rows)
    result = score(pixel_store, "--also", "open-set")
    assert result.exit_code == 0
    assert "name no classes, so that open-mIoU is left out" in result.stderr
