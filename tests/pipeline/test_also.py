"""`pipe score --also`: the benchmarks' own figures in tables, JSON and files."""

import csv
import io
import json
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner
from conftest import fails
from pages import report
from reference import upsample
from scipy.special import softmax
from stores import LABEL_SIZE, fill, make_schema

from logitpipe.cache import open_store
from logitpipe.cli import cli
from logitpipe.results.benchmarks import (
    closed_set_record,
    component_record,
    joined,
    open_set_record,
    read_rows,
)
from logitpipe.stages.classes import CLASS_CODES, COCO, COCO_TO_CITYSCAPES, MACRO_CLASSES
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


@pytest.mark.slow
def test_csv_has_a_part_for_each_family(pixel_store):
    """Behind an empty line, with names of its own; the first part is what stands there without them."""
    flags = ("--also", "components,open-set", "--format", "csv")
    first, components, open_set = score(pixel_store, *flags).stdout.split("\n\n")
    assert f"{first}\n" == score(pixel_store, "--format", "csv").stdout
    assert len(list(csv.DictReader(io.StringIO(components)))) == 2 * 6
    assert {row["rule"] for row in csv.DictReader(io.StringIO(open_set))} == {"tpr95", "fpr5", "best-f1"}


@pytest.fixture(scope="module")
def coco(tmp_path_factory):
    """A store of a network that knows COCO's classes, over masks with Cityscapes' train ids."""
    schema = replace(
        make_schema("pixel", version=2),
        classes=(*COCO, "void"),
        logits_shape=(len(COCO) + 1, 8, 12),
        void_class=len(COCO),
        label_codes="normal=0-18,anomaly=19,void=255",
        closed_set_codes=CLASS_CODES["train-ids"],
    )
    return fill(tmp_path_factory.mktemp("coco") / "coco.zarr", schema, codes=(*range(20), 255))


def expected_accuracy(store, members: dict[str, int], groups: int) -> tuple[int, float]:
    """Pixels that count, and the share whose class is the most likely; `members` are of both classes and codes."""
    table = np.full(256, 255)
    for name, code in CLASS_CODES["train-ids"].items():
        table[code] = members.get(name, 255)
    hits = pixels = 0
    channels = [k for k, name in enumerate(COCO) if name in members]
    for image in store.completed():
        p = softmax(upsample(store.read("logits", image).astype(np.float64)[channels], LABEL_SIZE), axis=0)
        of_class = np.zeros((groups, *LABEL_SIZE))
        for plane, k in zip(p, channels, strict=True):
            of_class[members[COCO[k]]] += plane
        truth = table[store.labels(image)]
        hits, pixels = hits + ((of_class.argmax(0) == truth) & (truth != 255)).sum(), pixels + (truth != 255).sum()
    return pixels, hits / pixels


@pytest.mark.slow
@pytest.mark.parametrize("space", ["cityscapes", "macro", "common", "own"])
def test_label_spaces_from_the_command_line(coco, space):
    """COCO's network on Cityscapes' masks: what both have, in 19, in 7, in 17; `own` knows few codes."""
    cityscapes = list(CLASS_CODES["train-ids"])
    spaces = {
        "cityscapes": [[name] for name in cityscapes],
        "macro": list(MACRO_CLASSES.values()),
        "common": [[name] for name in cityscapes if name in COCO_TO_CITYSCAPES.values()],
        "own": [[name] for name in COCO],
    }
    ours = {name: k for k, names in enumerate(spaces[space]) for name in names}
    theirs = {name: ours[other] for name, other in COCO_TO_CITYSCAPES.items() if other in ours}
    (row,) = json.loads(score(coco, "--also", "closed-set", "--label-space", space, "--json").stdout)["closed_set"]
    expected = expected_accuracy(open_store(coco), ours if space == "own" else ours | theirs, len(spaces[space]))
    assert (row["pixels"], row["accuracy"]) == expected
    assert sum(name.startswith("iou_") for name in row) == len(spaces[space])
    assert sum(row[f"bin{i}_pixels"] for i in range(1, 16)) == row["pixels"]


@pytest.mark.slow
def test_what_is_written_is_read_and_reported(coco, pixel_store, tmp_path):
    """All families in files, read back as they were, and on the page; one line tells of a store without classes."""
    out, words = tmp_path / "out", ("--methods", "msp", "--also", "components,closed-set,open-set")
    stores = (str(coco), str(pixel_store))
    result = CliRunner().invoke(
        cli, ["score", *stores, *words, "--label-space", "common", "--temperatures", "0.5,1,2", "--out", str(out)]
    )
    assert result.exit_code == 0, result.stderr
    assert result.stderr.count("closed-set figures are left out") == 1
    found = read_rows(out)
    for family, record in (
        ("components", component_record),
        ("closed_set", closed_set_record),
        ("open_set", open_set_record),
    ):
        written = json.loads((out / f"{family}.json").read_text())[family]
        assert [record(row) for row in getattr(found, family)] == written
    assert joined([found, found]) == found
    page = report(out)
    text = " ".join(" ".join(page.texts).split())
    for words in (
        "Components: Tiny",
        "Closed set: Tiny",
        "IoU of each class",
        "Open set: Tiny",
        "Reliability of enet",
    ):
        assert words in text
    assert "#benchmarks" in {attributes.get("href") for tag, attributes in page.elements if tag == "a"}


@pytest.mark.parametrize("text", ['{"components": [{"siou": 7.5}]}', '{"components": [{}]}', "[]"])
def test_damaged_files_of_benchmarks_are_named(pixel_store, tmp_path, text):
    out = tmp_path / "out"
    assert score(pixel_store, "--out", out, "--resolve", "none").exit_code == 0
    (out / "components.json").write_text(text)
    result = CliRunner().invoke(cli, ["report", str(out)])
    assert result.exit_code == 1
    assert f"{out}: these are not the results of one run" in result.stderr


@pytest.mark.slow
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


@pytest.mark.slow
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
