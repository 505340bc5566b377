"""`pipe maps --queries`: which queries claim a region, held against float64 and the formulas."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import fails
from pages import call
from PIL import Image
from reference import Scene, upsample
from scipy.special import expit, softmax
from scoring import random_values, write_store
from stores import fill, make_schema

from logitpipe.cache import PipeError, StoreWriter, open_store
from logitpipe.cache.format.geometry import Geometry
from logitpipe.stages.score.claims import anomalous_region, box_region, claims
from logitpipe.stages.score.labels.ground_truth import DrawnTruth
from logitpipe.stages.score.protocols import PROTOCOLS

SIZE, Q, K = (14, 19), 6, 4


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    noise = np.random.default_rng(5)
    codes = [noise.choice(np.array([0, 1, 255], np.uint8), SIZE, p=[0.8, 0.1, 0.1]), np.zeros(SIZE, np.uint8)]
    scenes = [Scene(f"{i}.png", random_values(noise, "mask", Q, (8, 8), K), each) for i, each in enumerate(codes)]
    return write_store(tmp_path_factory.mktemp("queries") / "eomt.zarr", scenes)


@pytest.mark.parametrize("T", [0.5, 2.0])
@pytest.mark.parametrize("box", [None, (3, 2, 9, 11), (18, 13, 18, 13)])
def test_claims_are_means_of_the_masks(store, T, box):
    truth = DrawnTruth(store, PROTOCOLS["standard"], [0, 1])
    region = anomalous_region(truth, 0) if box is None else box_region(SIZE, *box)
    M = upsample(expit(store.read("mask_logits", 0).astype(float)), SIZE)
    P = softmax(store.read("class_logits", 0).astype(float) / T, axis=1)
    expected = M[:, region].mean(axis=1)
    winner = (M * P[:, :K].max(axis=1)[:, None, None]).argmax(axis=0)[region]
    found = claims(store, 0, region, T, SIZE, 4)
    assert [each.query for each in found] == np.argsort(-expected)[:4].tolist()
    for each in found:
        assert each.claim == pytest.approx(expected[each.query], abs=1e-5)
        assert each.won == pytest.approx((winner == each.query).mean())
        assert each.area == pytest.approx(M[each.query].mean(), abs=1e-5)
        assert each.none == pytest.approx(P[each.query, K], abs=1e-6)
        order = np.argsort(-P[each.query, :K])[:3]
        assert [name for name, _ in each.classes] == [f"class {k}" for k in order]
        np.testing.assert_allclose([share for _, share in each.classes], P[each.query, order], rtol=1e-5)
        np.testing.assert_allclose(each.mask, M[each.query], atol=1e-5)


def test_a_region_lies_in_the_image(store):
    with pytest.raises(PipeError, match=r"within 0\.\.18 and 0\.\.13; found 3\.\.19 and 0\.\.5"):
        box_region(SIZE, 3, 0, 19, 5)
    with pytest.raises(PipeError, match=r"'1\.png' shows no anomaly") as raised:
        anomalous_region(DrawnTruth(store, PROTOCOLS["standard"], [0, 1]), 1)
    assert raised.value.remedy == "give-region"


def test_windows_share_a_region(tmp_path):
    """Two halves of a picture: each point is claimed by queries of the window that it lies in."""
    schema = replace(make_schema("mask", "float32", ("a.png",), 2), windows=2, label_shape=(8, 16), input_size=(8, 8))
    schema = replace(schema, logits_shape=(5, 4, 4), preview_size=(4, 8), chunk_rows=4)
    noise = np.random.default_rng(2)
    values = {
        "mask_logits": noise.normal(0, 3, (2, 5, 4, 4)).astype(np.float32),
        "class_logits": noise.normal(0, 3, (2, 5, 5)).astype(np.float32),
        "labels": np.zeros((8, 16), np.uint8),
        "preview": np.zeros((4, 8, 3), np.uint8),
    }
    boxes = ((0, 0, 8, 8), (0, 8, 8, 16))
    geometry = Geometry((8, 16), (8, 16), (8, 8), (4, 4), (8, 16), (4, 8), boxes)
    StoreWriter(tmp_path / "s", schema).commit(0, values, {}, geometry)
    right = box_region((8, 16), 12, 4, 12, 4)
    found = claims(open_store(tmp_path / "s"), 0, right, 1.0, (8, 16), 5)
    M = upsample(expit(values["mask_logits"][1].astype(float)), (8, 8))
    assert {each.window for each in found} == {1}
    assert [each.claim for each in found] == pytest.approx(sorted(M[:, 4, 4], reverse=True), abs=1e-5)
    assert all((each.mask[:, :8] == 0).all() for each in found)
    np.testing.assert_allclose(found[0].mask[:, 8:], M[found[0].query], atol=1e-5)


def test_the_command_draws_and_prints(store, tmp_path):
    result = call("maps", store.path, "--queries", "--images", "0.png", "--at", "3,4", "--most", 5, "--out", tmp_path)
    assert result.exit_code == 0, result.stderr
    path, heading, header, *lines = result.stdout.splitlines()
    assert Path(path).name == "0000_0_eomt_queries_3-4_T1.png"
    assert heading == "0.png: queries that claim region 3,4,3,4 (1 pixels), per cent"
    assert header.split() == ["query", "claims", "wins", "area", "no", "object", "classes"]
    assert len(lines) == 5
    with Image.open(path) as picture:  # the photograph and five queries, four in a row
        assert picture.height > picture.width / 4


def test_what_makes_no_sense_is_refused(store, tmp_path):
    fails(
        call("maps", store.path, "--out", tmp_path),
        "pipe: name a score with --method, or ask for --classes or --queries",
        2,
    )
    words = ["maps", store.path, "--queries", "--out", tmp_path]
    fails(call(*words, "--method", "msp"), "pipe: name a score with --method, or ask for --classes or --queries", 2)
    assert call(*words, "--at", "3").exit_code == 2
    assert call(*words, "--at", "3,-4").exit_code == 2
    assert call(*words, "--at", "3,4", "--box", "1,1,2,2").exit_code == 2
    assert call("maps", store.path, "--method", "msp", "--at", "3,4", "--out", tmp_path).exit_code == 2
    pixel = fill(tmp_path / "enet.zarr", make_schema("pixel"))
    result = call("maps", pixel, "--queries", "--out", tmp_path / "maps")
    assert (result.exit_code, "enet is a pixel network" in result.stderr) == (2, True)
