"""Pixels of a data set beside what the published validation sets hold."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from stores import LABEL_SIZE, make_schema, noise_values

from logitpipe.cache import StoreWriter, open_store
from logitpipe.cli import cli
from logitpipe.results.record import dataset_digest
from logitpipe.stages.infer.data.datasets import read_dataset
from logitpipe.stages.infer.data.masks import read_codes
from logitpipe.stages.infer.data.preprocess import code_counts
from logitpipe.stages.infer.data.published import PUBLISHED, PixelCounts, compared, count_pixels, parse_counts
from logitpipe.stores.data import right_data


def test_only_pictures_with_an_anomaly_count():
    histograms = [{0: 5, 1: 2, 2: 1, 255: 9}, {0: 7, 255: 1}, {1: 4, 9: 3}]
    assert count_pixels(histograms, "normal=0,anomaly=1-2,void=255") == PixelCounts(2, 7, 5)
    assert count_pixels(histograms, "normal=0-1,void=255") == PixelCounts(0, 0, 0)


@pytest.mark.parametrize("name", ["dataset_AnomalyTrack", "RoadAnomaly21", "a name of my own"])
def test_the_right_data_is_equal(name):
    assert compared(name, PixelCounts(10, 1317063, 7578030)) == (
        "10 pictures with an anomaly, 1,317,063 anomalous and 7,578,030 normal pixels: "
        "equal to the published RoadAnomaly21"
    )


def test_other_data_is_told_by_its_name_alone():
    assert compared("fs_static", PixelCounts(30, 5, 6)) == (
        "30 pictures with an anomaly, 5 anomalous and 6 normal pixels: the published fs_static has "
        "20 pictures with an anomaly, 732,524 anomalous and 34,420,206 normal pixels"
    )
    assert compared("mine", PixelCounts(30, 5, 6)) is None


@pytest.mark.parametrize("name", ["RoadAnomaly21", "fs_static"])
def test_the_real_data_sets_are_the_published_ones(real_data, name):
    masks = [sample.mask for sample in read_dataset(real_data, name).samples]
    counts = [parse_counts(code_counts(read_codes(mask))) for mask in masks]
    assert count_pixels(counts, "normal=0,anomaly=1-2,void=255") == PUBLISHED[name]


def test_a_store_is_compared_by_its_records(tmp_path: Path):
    schema, path = replace(make_schema("pixel"), dataset="RoadAnomaly21"), tmp_path / "a.zarr"
    writer = StoreWriter(path, schema)
    for image, codes in enumerate(("0:7578030 1:1317063", "0:16", "0:9 255:7")):
        assert right_data(open_store(path)) is None if image else True  # not before it is complete
        writer.commit(image, noise_values(schema, image, (0, 1)), {"mask_codes": codes})
    counts = "1 pictures with an anomaly, 1,317,063 anomalous and 7,578,030 normal pixels"
    assert right_data(open_store(path)) == (
        f"{counts}: the published RoadAnomaly21 has 10 pictures with an anomaly, 1,317,063 anomalous and "
        "7,578,030 normal pixels"
    )
    shown = CliRunner().invoke(cli, ["show", str(path)])
    assert "right data     1 pictures with an anomaly, 1,317,063 anomalous" in shown.stdout


@pytest.mark.parametrize("version", [1, 2])
def test_a_store_of_an_earlier_release_is_counted_by_its_masks(tmp_path, version):
    """Its records have digests of the masks, and no counts."""
    path, schema = tmp_path / "a.zarr", replace(make_schema("pixel", version=version), dataset="RoadAnomaly21")
    writer, labels = StoreWriter(path, schema), np.zeros((3, *LABEL_SIZE), np.uint8)
    labels[:2, 2:, 3:6] = 1
    for image in range(3):
        values = noise_values(schema, image, (0, 1)) | {"labels": labels[image]}
        writer.commit(image, values, {"image_sha256": "p", "mask_sha256": "m"})
    anomalous = int(labels.sum())
    counts = f"2 pictures with an anomaly, {anomalous} anomalous and {2 * labels[0].size - anomalous} normal pixels: "
    assert right_data(open_store(path)).startswith(counts + "the published RoadAnomaly21 has 10 pictures")


@pytest.mark.parametrize("name", ["RoadAnomaly21", "fs_static"])
def test_the_real_data_sets_count_as_published_when_they_are_scored(run, real_data, tmp_path, name):
    """Through the network's run, `pipe show` and `pipe score`, under standard without pictures that show none."""
    assert run("--data-root", str(real_data), dataset=name).exit_code == 0
    store = str(tmp_path / "store")
    shown = CliRunner().invoke(cli, ["show", store]).stdout
    assert f"equal to the published {name}" in " ".join(shown.split())
    words = ["--methods", "msp", "--resolve", "none", "--set", "skip-without-anomaly=yes", "--json"]
    (row,) = json.loads(CliRunner().invoke(cli, ["score", store, *words]).stdout)["results"]
    found = PixelCounts(row["images"], row["positives"], row["pixels"] - row["positives"])
    assert (row["protocol"], found) == ("standard+skip-without-anomaly=yes", PUBLISHED[name])


def test_the_digest_of_a_data_set_is_that_of_its_files(tmp_path):
    schema, digests = make_schema("pixel"), set[str | None]()
    for name, mask in (("a", "m"), ("b", "m"), ("c", "n")):
        writer = StoreWriter(tmp_path / name, replace(schema, network=name))
        for image in range(3):
            sources = {"image_sha256": f"p{image}", "mask_sha256": mask, "image_stamp": name}
            writer.commit(image, noise_values(schema, image, (0, 1)), sources)
        digests.add(dataset_digest(open_store(tmp_path / name)))
    assert len(digests) == 2
    assert None not in digests
