"""`pipe export`: files as benchmarks' tools read them, one map for all images, names that stay in the folder."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from conftest import content, fails
from PIL import Image
from stores import fill, make_schema

from logitpipe.cache import open_store
from logitpipe.cli import cli
from logitpipe.exports.formats import HALF_MOST, Range, half_factor
from logitpipe.stages.classes import CLASS_LISTS
from logitpipe.stages.score.labels.ground_truth import GroundTruth
from logitpipe.stages.score.passes.maps import plan_map, score_map
from logitpipe.stages.score.protocols import PROTOCOLS


def export(store, out, form, *flags, method="entropy"):
    words = ["export", store, "--method", method, "--format", form, "--out", out, *flags]
    return CliRunner().invoke(cli, list(map(str, words)))


def formula_scores(path, method="entropy", temperature=1.0):
    """What `pipe maps` draws, for each image."""
    store = open_store(path)
    plan = plan_map(store.schema, PROTOCOLS["standard"], method, temperature)
    truth = GroundTruth(store, plan.protocol, store.completed())
    return [score_map(store, plan, truth, image).scores for image in store.completed()]


def test_npy(mask_store, tmp_path):
    out = tmp_path / "out"
    result = export(mask_store, out, "npy", "--temperature", "0.5")
    assert result.exit_code == 0, result.stderr
    for stem, scores in zip("abc", formula_scores(mask_store, temperature=0.5), strict=True):
        found = np.load(out / f"{stem}.npy")
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, scores.astype(np.float32))
    document = json.loads((out / "export.json").read_text())
    assert (document["method"], document["temperature"], document["images"]["b.png"]) == ("entropy", 0.5, ["b.npy"])
    assert result.stdout.splitlines() == [str(out / "export.json")]


def test_smiyc(pixel_store, tmp_path):
    h5py = pytest.importorskip("h5py")
    out = tmp_path / "out"
    assert export(pixel_store, out, "smiyc").exit_code == 0
    for stem, scores in zip("abc", formula_scores(pixel_store), strict=True):
        with h5py.File(out / f"anomaly_p/enet_entropy_T1/Tiny/{stem}.hdf5") as file:
            value = file["value"]
            assert (value.dtype, value.compression, value.compression_opts) == (np.float16, "gzip", 9)
            np.testing.assert_array_equal(value[:], scores.astype(np.float16))
    assert json.loads((out / "anomaly_p/enet_entropy_T1/Tiny.json").read_text())["map"]["factor"] == 1


def test_png16_has_one_map_for_all_images(pixel_store, tmp_path):
    out = tmp_path / "out"
    assert export(pixel_store, out, "png16").exit_code == 0
    scores = np.stack(formula_scores(pixel_store))
    found = np.stack([np.asarray(Image.open(out / f"{stem}.png")) for stem in "abc"])
    assert found.dtype == np.uint16
    assert (found.min(), found.max()) == (0, 65535)
    of = json.loads((out / "export.json").read_text())["map"]
    np.testing.assert_array_equal(found, np.rint(65535 * (scores - of["low"]) / (of["high"] - of["low"])))


@pytest.fixture
def cityscapes_store(tmp_path):
    """A store whose channels are Cityscapes' classes and void."""
    from dataclasses import replace

    schema = make_schema("pixel")
    classes = (*CLASS_LISTS["cityscapes"], "void")
    return fill(
        tmp_path / "city",
        replace(schema, classes=classes, void_class=19, logits_shape=(20, *schema.logits_shape[1:])),
    )


def test_bravo_and_fishyscapes_have_train_ids(cityscapes_store, tmp_path):
    bravo, fishyscapes = tmp_path / "bravo", tmp_path / "fishyscapes"
    assert export(cityscapes_store, bravo, "bravo", method="msp").exit_code == 0
    assert export(cityscapes_store, fishyscapes, "fishyscapes", method="msp").exit_code == 0
    for index, (stem, scores) in enumerate(zip("abc", formula_scores(cityscapes_store, "msp"), strict=True)):
        predicted = np.asarray(Image.open(bravo / f"{stem}_pred.png"))
        confidence = np.asarray(Image.open(bravo / f"{stem}_conf.png"))
        assert (predicted.dtype, confidence.dtype) == (np.uint8, np.uint16)
        assert len(np.unique(predicted)) == 19
        order = np.argsort(scores, axis=None)
        assert (np.diff(confidence.reshape(-1)[order].astype(int)) <= 0).all()
        np.testing.assert_array_equal(np.load(fishyscapes / f"{index}_segmentation.npy"), predicted)
        assert np.load(fishyscapes / f"{index}_anomaly.npy").dtype == np.float32


def test_other_classes_have_no_train_ids(tmp_path):
    store = fill(tmp_path / "own", make_named(("a", "b", "c", "d", "void")))
    result = export(store, tmp_path / "out", "bravo")
    assert "the label space cityscapes has fewer than two of the classes of enet" in result.stderr


def make_named(classes):
    from dataclasses import replace

    return replace(make_schema("pixel"), classes=classes)


def test_nothing_is_replaced_unasked(pixel_store, tmp_path):
    out = tmp_path / "out"
    assert export(pixel_store, out, "npy").exit_code == 0
    before = content(out)
    assert export(pixel_store, out, "npy", method="msp").exit_code == 1
    assert content(out) == before
    assert export(pixel_store, out, "npy", "--overwrite", method="msp").exit_code == 0
    assert content(out) != before


@pytest.mark.parametrize("name", ["...png", "a\\b.png", "C:x.png", ".hidden.png", "a\nb.png", "ends .png", "-x.png"])
def test_names_that_could_leave_the_folder(tmp_path, name):
    store = fill(tmp_path / "store", make_schema("pixel", images=("fine.png", name)))
    result = export(store, tmp_path / "out", "npy")
    assert result.exit_code == 1
    assert "cannot be the name of a file" in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["../../m", "m/n", "", ".."])
def test_a_method_is_one_folder(pixel_store, tmp_path, name):
    result = export(pixel_store, tmp_path / "out", "smiyc", "--name", name)
    assert result.exit_code == 1
    assert "cannot be the name of a file" in result.stderr


def test_images_of_one_stem(tmp_path):
    store = fill(tmp_path / "store", make_schema("pixel", images=("x/a.png", "y/A.png")))
    fails(
        export(store, tmp_path / "out", "npy"),
        "pipe: two images would be written to A.npy; choose images with --images, and export the others into another "
        "folder",
    )
    assert export(store, tmp_path / "out", "npy", "--images", "y/A.png").exit_code == 0


def test_an_incomplete_store(tmp_path):
    store = fill(tmp_path / "store", make_schema("pixel"), images=[0])
    assert export(store, tmp_path / "out", "npy").exit_code == 3
    assert export(store, tmp_path / "out", "npy", "--images", "a.png").exit_code == 0


@pytest.mark.parametrize(("low", "high", "factor"), [(-3, 65504, 1), (-65505, 0, 0.5), (0, 1e6, 0.0625), (0, 0, 1)])
def test_scores_beyond_float16(low, high, factor):
    """The largest power of two: it changes no digit."""
    assert half_factor(Range(low, high)) == factor
    assert max(abs(low), abs(high)) * factor <= HALF_MOST


def test_equal_scores():
    assert Range(2, 2).shares(np.full(3, 2.0)).tolist() == [0, 0, 0]
