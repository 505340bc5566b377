"""Stores that earlier releases wrote, committed with the tests, and read for ever: values, checks and figures."""

import hashlib
import json
import shutil
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import xarray
from click.testing import CliRunner
from conftest import content
from documented import read_as_documented
from reference import RULES, Scene, figures, pool
from stores import noise_values

from logitpipe.cache import Store, StoreWriter, open_dataset, open_store
from logitpipe.cache.format import version1
from logitpipe.cache.reading.verify import check_image, check_metadata, stray_files
from logitpipe.cli import cli
from logitpipe.stages.score.passes.exact import exact_rows
from logitpipe.stages.score.passes.sweep import tally_store
from logitpipe.stages.score.plan import make_plan
from logitpipe.stages.score.protocols import PROTOCOLS
from logitpipe.stages.score.statistics.histograms import make_rows

V1 = Path(__file__).parents[1] / "data" / "v1"
EXPECTED = json.loads((V1 / "expected.json").read_text(encoding="utf-8"))
FIGURES = ("auprc", "fpr95", "auroc", "best_f1")
CHUNKS = {"pixel": 12, "mask": 15, "tall": 5}
DIGEST_OF_ALL = "decb8a230eb9962fcb17f49c29d0f8e95e41c73886af4433f07e918839df140c"
"""SHA-256 over the paths and bytes of all files: nobody makes these stores anew in passing."""


@pytest.fixture(params=EXPECTED)
def name(request) -> str:
    return request.param


@pytest.fixture
def store(name) -> Store:
    return open_store(V1 / name)


def test_the_files_are_those_of_old():
    everything = hashlib.sha256()
    for path, data in sorted(content(V1).items()):
        everything.update(f"{Path(path).as_posix()} {len(data)}\n".encode() + data)
    assert everything.hexdigest() == DIGEST_OF_ALL


def test_the_attributes_are_read(name, store):
    attributes = EXPECTED[name]["attributes"]
    assert store.schema.attributes() == attributes
    assert store.fingerprint == attributes["fingerprint"] == EXPECTED[name]["fingerprint"]
    facts = attributes.keys() - {"format", "format_version", "fingerprint"}
    assert {field.name for field in fields(version1.Schema)} == facts


def test_the_values_are_read(name, store):
    expected = EXPECTED[name]
    store.require_complete()
    for image, digests in enumerate(expected["sha256"]):
        assert digests.keys() == store.arrays.keys()
        for array, digest in digests.items():
            assert hashlib.sha256(store.read(array, image).tobytes()).hexdigest() == digest
            assert np.array_equal(store.read(array, image), read_as_documented(store.path, array, image))
        assert list(store.labels(image).shape) == expected["label_sizes"][image]
        assert store.record(image).sources == {"image_sha256": f"{image}" * 64, "mask_sha256": "0" * 64}
    first = next(array for array in store.arrays if "logits" in array)
    assert store.read(first, 0).reshape(-1)[:8].tolist() == expected["first_values"]


def test_nothing_is_found_wrong(name, store):
    checks = [check_image(store, image) for image in range(len(store.schema.images))]
    assert [check.damages for check in checks] == [[]] * len(checks)
    assert sum(check.chunks for check in checks) == CHUNKS[name]
    assert check_metadata(store) == []
    assert stray_files(store) == []
    assert CliRunner().invoke(cli, ["verify", str(store.path)]).exit_code == 0


def test_xarray_opens_it(name, store):
    with open_dataset(store.path) as dataset:
        assert dataset["image"].values.tolist() == EXPECTED[name]["attributes"]["images"]
        for array in store.arrays:
            assert np.array_equal(dataset[array][0], store.read(array, 0))
    assert isinstance(dataset, xarray.Dataset)


@pytest.mark.slow
@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", ["pixel", "mask"])
def test_the_figures_are_those_of_old(name, store, protocol):
    expected = [row for row in EXPECTED[name]["figures"] if row["protocol"] == protocol]
    plan, images = make_plan(store.schema, PROTOCOLS[protocol], None, (0.5, 1.0)), store.completed()
    streamed = make_rows(store, plan, tally_store(store, plan, images, 2, lambda: None))
    exact = exact_rows(store, plan, images, streamed, lambda: None)
    assert [(row.method, row.temperature) for row in exact] == [(r["method"], r["temperature"]) for r in expected]
    for new, binned, old in zip(exact, streamed, expected, strict=True):
        P, N = new.positives, new.pixels - new.positives
        assert (old["pixels"], old["positives"]) == (P + N, P)
        # Two pixels whose scores differ by less than float32 tells may change places: that is one pair of P N.
        bars = [pytest.approx(old[f], abs=1e-6 + (f == "auroc") / (P * N)) for f in FIGURES]
        assert [getattr(new, figure) for figure in FIGURES] == bars
        assert binned.auprc_lower - 1e-6 <= old["auprc"] <= binned.auprc_upper + 1e-6


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_figures_are_those_of_float64(protocol):
    store = open_store(V1 / "mask")
    images = store.completed()
    logits = [{array: store.read(array, i) for array in ("mask_logits", "class_logits")} for i in images]
    scenes = [Scene(store.schema.images[i], logits[i], store.labels(i)) for i in images]
    plan = make_plan(store.schema, PROTOCOLS[protocol], None, (0.5, 1.0))
    streamed = make_rows(store, plan, tally_store(store, plan, images, 2, lambda: None))
    for row in exact_rows(store, plan, images, streamed, lambda: None):
        pooled = pool(scenes, store.schema.dataset, RULES[protocol], row.method, row.temperature or 1.0)
        expected = figures(pooled, PROTOCOLS[protocol].fpr)
        # Scores that differ by less than float32 tells apart may come in any order.
        positive, negative = pooled.scores[pooled.anomalous][:, None], pooled.scores[~pooled.anomalous]
        unsettled = np.mean(np.abs(positive - negative) < 2**-23 * np.abs(positive))
        for figure, value in expected.items():
            assert getattr(row, figure) == pytest.approx(value, abs=1e-6 + (figure == "auroc") * unsettled)


def test_it_can_be_written_on(store, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(store.path, copy)
    writer = StoreWriter(copy, store.schema)
    assert writer.completed() == store.completed()
    values = noise_values(store.schema, 0, (0, 1, 255))
    (copy / "records/0.json").unlink()
    writer.commit(0, values, {})
    again = open_store(copy)
    assert np.array_equal(again.labels(0), values["labels"])
    assert check_image(again, 0).damages == []
    if len(again.schema.images) > 1:
        assert again.record(1) == store.record(1)
