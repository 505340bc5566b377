"""Pixels of a data set beside what the published validation sets hold."""

from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from stores import make_schema, noise_values

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
