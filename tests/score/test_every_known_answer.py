"""Every method of the registry on real images, against formulas that were written down without the project's."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from formulas import mask_maps, pixel_maps, resize
from golden_rule import eomt_weights
from real_stores import infer
from reference import nearest
from sklearn.metrics import average_precision_score

from logitpipe.cache import Store, StoreWriter, open_store
from logitpipe.stages.score.labels.ground_truth import GroundTruth
from logitpipe.stages.score.methods import METHODS
from logitpipe.stages.score.passes.fit import Fit, fit, fitting_protocol
from logitpipe.stages.score.passes.sweep import sweep
from logitpipe.stages.score.picture import read_picture
from logitpipe.stages.score.plan import Plan, make_plan
from logitpipe.stages.score.protocols import PROTOCOLS

STANDARD, SIZE = PROTOCOLS["standard"], (180, 320)
"""A quarter of the mask's height and width: enough pixels to tell one formula from another."""

ROUNDING = 2e-5
"""Of scores, relative to the largest: float32 also has the positions between which logits are resampled."""


@pytest.fixture(scope="module")
def enet(real_data, tmp_path_factory) -> Store:
    """One real image through ENet."""
    out = tmp_path_factory.mktemp("enet") / "whole"
    weights = real_data / "weights" / "enet_cityscapes_void.pth"
    infer(real_data, "enet", weights, out, "--dataset", "RoadAnomaly21", "--limit", "1", "--input-size", "256x512")
    return open_store(out)


@pytest.fixture(scope="module")
def eomt(real_data, tmp_path_factory) -> Store:
    """One real image through an EoMT whose weights a rule makes."""
    folder = tmp_path_factory.mktemp("eomt")
    torch.save(eomt_weights(grid=(8, 16), queries=20, classes=19), folder / "weights.pth")
    flags = ["--dataset", "RoadAnomaly21", "--limit", "1", "--input-size", "128x256"]
    infer(real_data, "eomt", folder / "weights.pth", folder / "whole", *flags)
    return open_store(folder / "whole")


def changed(store: Store, out: Path, anomaly: int = 1, outlier: int | None = None) -> Store:
    """A copy with a mask of SIZE, in which anomalies have a code; of a mask network, the queries take sides."""
    codes = nearest(store.labels(0), SIZE)
    values = {"labels": np.where(codes == 1, anomaly, codes).astype(np.uint8), "preview": store.read("preview", 0)}
    for name in ("logits",) if store.schema.kind == "pixel" else ("mask_logits", "class_logits"):
        values[name] = store.read(name, 0)
    schema = replace(store.schema, label_shape=SIZE)
    if store.schema.kind == "mask":
        # By the rule all queries say nearly the same, and none would pass the filter of `rejection`.
        z = values["class_logits"]
        values["class_logits"] = 6 * (z - z.mean()) / z.std()
        schema = replace(schema, outlier_class=outlier)
    StoreWriter(out, schema).commit(0, values, {}, replace(store.image(0), labels=SIZE))
    return open_store(out)


def assert_known(store: Store, plan: Plan, expected: dict[str, np.ndarray]) -> None:
    """Scores are those of the formulas, and so is the AuPRC of their order."""
    names = [pair.label.partition(", ")[0] for pair in plan.pairs]
    assert {name.partition(":")[0] for name in names} == set(METHODS[store.schema.kind])
    codes, picture = store.labels(0), read_picture(store, GroundTruth(store, STANDARD, [0]), 0)
    counted = codes != 255
    scored = sweep(store, plan, [0], 1, lambda: None, resolve="all")
    for i, name in enumerate(names):
        found, scores = picture.formula_map(plan, i), expected[name]
        bar = ROUNDING * np.abs(scores).max()
        np.testing.assert_allclose(found, scores, rtol=ROUNDING, atol=bar, err_msg=name)
        exact = average_precision_score(codes[counted] == 1, scores[counted])
        assert scored[i].row.auprc == pytest.approx(exact, abs=1e-5), plan.pairs[i]


@pytest.mark.slow
@pytest.mark.parametrize("T", [0.5, 2.0])
def test_pixel_methods(enet, tmp_path, T):
    store, normal = changed(enet, tmp_path / "scored"), changed(enet, tmp_path / "fitted", anomaly=255)
    plan = make_plan(normal.schema, fitting_protocol(STANDARD), ["msp"], [T])
    statistics = fit([Fit(normal, plan, [0])], 1, lambda: None)
    z = resize(store.read("logits", 0).astype(np.float64), SIZE)
    void = store.schema.unknown_class
    expected = pixel_maps(np.delete(z, void, axis=0), z[void], T, store.labels(0) == 0)
    assert_known(store, make_plan(store.schema, STANDARD, list(expected), [T], statistics=statistics), expected)


@pytest.mark.slow
@pytest.mark.parametrize(("T", "T_S", "T_m", "outlier"), [(1, 1, 1, None), (0.5, 0.2, 2, None), (2, 0.5, 1, 3)])
def test_mask_methods(eomt, tmp_path, T, T_S, T_m, outlier):
    store = changed(eomt, tmp_path / "scored", outlier=outlier)
    masks, classes = (store.read(name, 0).astype(np.float64) for name in ("mask_logits", "class_logits"))
    assert store.schema.sigmoid_at == "masks"
    expected = mask_maps(masks, classes, SIZE, T, T_S, T_m, outlier)
    temperatures = {"map_temperatures": [T_S], "mask_temperatures": [T_m]}
    assert_known(store, make_plan(store.schema, STANDARD, list(expected), [T], **temperatures), expected)
