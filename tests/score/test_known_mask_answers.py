"""Every method for mask networks on real images gives what a float64 reference computes."""

import json

import numpy as np
import pytest
import torch
from golden_rule import eomt_weights, golden_state
from real_stores import at_size, infer
from reference import RULES, Scene, figures, pool
from scoring import score_store

from logitpipe.cache import Store, open_store
from logitpipe.stages.score.methods import MASK_METHODS
from logitpipe.stages.score.plan import make_plan
from logitpipe.stages.score.protocols import PROTOCOLS, with_choices


def scene(store: Store, image: int) -> Scene:
    values = {name: store.read(name, image) for name in ("mask_logits", "class_logits")}
    return Scene(store.schema.images[image], values, store.labels(image))


@pytest.fixture(scope="session")
def mask_store(real_data, tmp_path_factory) -> Store:
    """Two real images through an EoMT whose weights a rule makes, with masks of a quarter of the height."""
    folder = tmp_path_factory.mktemp("eomt")
    torch.save(eomt_weights(grid=(8, 16), queries=20, classes=19), folder / "weights.pth")
    flags = ["--dataset", "RoadAnomaly21", "--limit", "2", "--input-size", "128x256", "--precision", "float32"]
    infer(real_data, "eomt", folder / "weights.pth", folder / "whole", *flags)
    return at_size(open_store(folder / "whole"), folder / "out", (180, 320))


@pytest.mark.parametrize(("protocol", "temperature"), [("standard", 0.5), ("legacy", 2.0)])
def test_mask_methods_on_real_images(mask_store, protocol, temperature):
    """No trained mask network is at hand; a float64 reference holds every method on the logits of one by rule.

    Its scores lie so close together that a bin may hold a thousandth of all pixels: hence the bars of FPR and AUROC.
    """
    store, rules = mask_store, RULES[protocol]
    scenes = [scene(store, image) for image in store.completed()]
    rows = score_store(store, make_plan(store.schema, PROTOCOLS[protocol], None, [temperature]))
    assert len(rows) == sum(method.core for method in MASK_METHODS.values())
    for row in rows:
        pooled = pool(scenes, store.schema.dataset, rules, row.method, row.temperature or 1.0)
        exact = figures(pooled, rules.fpr)
        assert (row.pixels, row.positives) == (len(pooled.scores), np.count_nonzero(pooled.anomalous))
        assert row.auprc_lower - 1e-6 <= exact["auprc"] <= row.auprc_upper + 1e-6, row
        assert row.auprc == pytest.approx(exact["auprc"], abs=1e-5), row
        assert row.auroc == pytest.approx(exact["auroc"], abs=2e-5), row
        assert row.fpr95 == pytest.approx(exact["fpr95"], abs=5e-4), row


@pytest.mark.slow
def test_the_iou_of_the_original_script(real_data, tmp_path):
    """Of the map above 0.5 after min-max, as the script of the course computes it: its eval_iouEoMT.py."""
    path = real_data.parent / "golden" / "eomt_small_256x512.npz"
    known = json.loads((real_data / "expected_iou_legacy.json").read_text())["rows"]
    with np.load(path) as golden:
        state = golden_state(json.loads(str(golden["keys"])))
        state["attn_mask_probs"] = torch.from_numpy(golden["attn_mask_probs"])
    torch.save(state, tmp_path / "eomt.pth")
    flags = ["--dataset", "RoadAnomaly21", "--limit", "4", "--input-size", "256x512"]
    infer(real_data, "eomt", tmp_path / "eomt.pth", tmp_path / "eomt.zarr", *flags)
    store, wanted = open_store(tmp_path / "eomt.zarr"), known
    assert [row["id"] for row in known] == ["msp", "maxlogit", "entropy", "rba-plus1"]
    choices = {
        "skip-without-anomaly": "no",
        "thin-above": "none",
        "sum-epsilon": "1e-6",
        "min-max": ",".join(row["id"] for row in wanted if row["id"] != "msp"),
    }
    plan = make_plan(
        store.schema, with_choices(PROTOCOLS["legacy"], choices), [row["id"] for row in wanted], [1.0], [0.5]
    )
    found = {row.method: row.iou[0] for row in score_store(store, plan, workers=2)}
    for row in wanted:
        expected = {name: row[name] for name in ("threshold", "normal", "anomaly", "mean")}
        assert found[row["id"]] == pytest.approx(expected, abs=1e-5), row["id"]
