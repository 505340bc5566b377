"""`pipe match`: every choice is tried, shared walks change no figure, and what was printed is found."""

from dataclasses import replace

import numpy as np
import pytest
from reference import Scene
from scoring import random_values, write_store

from logitpipe.stages.score.kinds import KINDS
from logitpipe.stages.score.labels.ground_truth import GridTruth, GroundTruth
from logitpipe.stages.score.passes.match import Search, distance, match, shortlist
from logitpipe.stages.score.passes.sweep import sweep
from logitpipe.stages.score.plan import make_plan
from logitpipe.stages.score.protocols import PROTOCOLS, Protocol, alternatives
from logitpipe.stages.score.variants import variations

K, SIZE = 4, (18, 21)
NAMED = list(PROTOCOLS.values())
FIGURES = ("auprc", "fpr95", "auroc")


@pytest.fixture(scope="module", params=["pixel", "mask"])
def store(request, tmp_path_factory):
    """Three images with void; the last one shows no anomaly."""
    noise, kind, scenes = np.random.default_rng(8), request.param, []
    for i in range(3):
        codes = noise.choice(np.array([0, 1, 255], np.uint8), SIZE, p=[0.6, 0.3, 0.1])
        if i == 2:
            codes[codes == 1] = 0
        scenes.append(
            Scene(f"{i}.png", random_values(noise, kind, K + 1 if kind == "pixel" else 5, (9, 12), K), codes)
        )
    return write_store(tmp_path_factory.mktemp(kind) / "a", scenes, K if kind == "pixel" else None)


def searched(store, methods, temperatures=(0.5,)) -> Search:
    plans = [make_plan(store.schema, each, methods, temperatures) for each in variations(NAMED, "Tiny")]
    return Search(store, plans, store.completed(), 1)


@pytest.mark.slow
def test_walks_that_are_shared_give_the_figures_of_each_choice(store):
    methods = ["msp", "maxlogit"]
    search = searched(store, methods)
    assert search.step == 1
    found = {}
    for choice, row in search.coarse(lambda: None):
        found.setdefault(choice.pair, []).append([getattr(row, name) for name in FIGURES])
    plans = [make_plan(store.schema, each, methods, [0.5]) for each in variations(NAMED, "Tiny")]
    for plan in plans:
        for scored in sweep(store, plan, store.completed(), 1, lambda: None):
            expected = [getattr(scored.row, name) for name in FIGURES]
            pair = next(each for each in plan.pairs if each.method == scored.row.method)
            assert expected in found[pair], (plan.protocol.name, pair)
    # Fewer walks than protocols, and fewer choices than protocols times pairs: something was shared.
    assert len(search.parts) < len(plans)
    assert sum(map(len, found.values())) < 2 * len(plans)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["legacy+fpr=above", "course+void-as-anomaly-on=Tiny", "standard+pooling=images"])
def test_what_was_printed_is_found(store, name):
    (protocol,) = [each for each in variations(NAMED, "Tiny") if each.name == name]
    plan = make_plan(store.schema, protocol, ["msp"], [0.5])
    (scored,) = sweep(store, plan, store.completed(), 1, lambda: None, resolve="all")
    target = {figure: round(getattr(scored.row, figure), 5) for figure in ("auprc", "fpr95")}
    search = searched(store, ["msp", "entropy"], (0.5, 1.0))
    read, announced = [], []
    nearest = shortlist(search, target, 5, lambda: read.append(1))
    assert len(read) == search.coarse_readings
    first, *others = match(search, nearest, target, 5, lambda: read.append(1), announced.append)
    assert (first.row.method, first.row.temperature) == ("msp", 0.5)
    assert name in (first.configuration.protocol.name, *first.alike)
    assert first.distance < 0.001
    assert all(first.distance <= each.distance for each in others)
    assert len(read) == search.coarse_readings + search.expected_readings(nearest) + sum(announced)


def test_variations_change_one_field_and_are_distinct():
    found = variations(NAMED, "Tiny")
    assert found[:3] == NAMED
    assert len({replace(each, name="") for each in found}) == len(found)
    for protocol in found[3:]:
        base = PROTOCOLS[protocol.name.split("+")[0]]
        changed = [name for name in Protocol.__dataclass_fields__ if getattr(protocol, name) != getattr(base, name)]
        assert sorted(changed) == sorted({"name", *changed})
        assert len(changed) == 2
    # Each field that has alternatives is varied; what codes mean is no choice.
    names = set(Protocol.__dataclass_fields__) - {"name", "label_codes"}
    assert set(alternatives("Tiny")) == names


def test_the_grid_holds_scores_of_the_very_pixels(store):
    plan = make_plan(store.schema, PROTOCOLS["standard"], ["msp"], [0.5])
    truth = GroundTruth(store, plan.protocol, store.completed())
    grid = GridTruth(truth, 3)
    labels = grid.labels(0)
    np.testing.assert_array_equal(labels, truth.labels(0)[1::3, 1::3])
    kind = KINDS[store.schema.kind]
    logits = kind.prepare([{name: store.read(name, 0) for name in kind.ARRAYS}])
    (_, whole), *_ = logits.rank_maps(plan, [0], SIZE)
    whole = whole.copy()
    (_, part), *_ = logits.rank_maps(plan, [0], labels.shape)
    np.testing.assert_allclose(part, whole[1::3, 1::3], rtol=1e-5, atol=1e-5)


def test_distances_are_of_what_was_asked_for(store):
    plan = make_plan(store.schema, PROTOCOLS["standard"], ["msp"], [0.5])
    (scored,) = sweep(store, plan, store.completed(), 1, lambda: None)
    row = replace(scored.row, auprc=0.5, fpr95=0.25)
    assert distance(row, {"auprc": 0.53}) == pytest.approx(3)
    assert distance(row, {"auprc": 0.53, "fpr95": 0.21}) == pytest.approx(5)
    assert distance(replace(row, auprc=None), {"auprc": 0.5}) == np.inf
