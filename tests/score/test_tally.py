"""Counts of a store: chunked equals direct, any split and order and number of workers give the identical counts."""

import os
import re
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import Scene
from scoring import all_ranks, curve_of, no_counts, random_values, score_store, whole, write_store

from logitpipe.cache import IntegrityError
from logitpipe.cache.format import version1
from logitpipe.cache.writing import commit
from logitpipe.stages.score.figures.metrics import Curve
from logitpipe.stages.score.kernels.counting.bins import count, count_above
from logitpipe.stages.score.kernels.counting.counts import WAITING
from logitpipe.stages.score.labels.ground_truth import GroundTruth
from logitpipe.stages.score.methods import METHODS
from logitpipe.stages.score.passes import walk
from logitpipe.stages.score.passes.sweep import tally_store
from logitpipe.stages.score.picture import read_picture
from logitpipe.stages.score.plan import make_plan, split
from logitpipe.stages.score.protocols import PROTOCOLS
from logitpipe.stages.score.statistics.histograms import make_rows
from logitpipe.stages.score.statistics.tally import Tally

THRESHOLDS = (-5.0, -0.5, 0.0, 0.3)
IMAGES = 7


def random_scenes(kind: str, count: int = IMAGES) -> list[Scene]:
    """Scenes; one has more rows than may wait; of others the first or the last rows are void, or most columns."""
    noise = np.random.default_rng(0)
    scenes = []
    for image in range(count):
        values = random_values(noise, kind, 6, (40, 24))
        size = 560 if image == 3 else 70, 70 - image
        codes = noise.choice(np.array([0, 1, 255], np.uint8), size, p=(0.7, 0.2, 0.1))
        codes[{1: slice(45), 2: slice(25, None)}.get(image, slice(0))] = 255
        codes[:, {3: slice(21, 60), 4: slice(50), 5: slice(9, None)}.get(image, slice(0))] = 255
        scenes.append(Scene(f"{image}.png", values, codes))
    return scenes


@pytest.fixture(scope="module", params=METHODS)
def store(request, tmp_path_factory):
    """A store whose logits lie in chunks of four rows."""
    with pytest.MonkeyPatch.context() as patch:
        original = version1.rows_per_chunk
        patch.setattr(
            version1,
            "rows_per_chunk",
            lambda rows, row_bytes, _target: original(rows, row_bytes, 4 * row_bytes),
        )
        void = 5 if request.param == "pixel" else None
        yield write_store(tmp_path_factory.mktemp(request.param) / "store", random_scenes(request.param), void)


def plan_of(store, protocol="standard"):
    return make_plan(store.schema, PROTOCOLS[protocol], None, (0.5, 2.0), THRESHOLDS)


def tally_of(store, plan, images, workers=1):
    return tally_store(store, plan, images, workers, lambda: None)


def same(a: Tally, b: Tally) -> bool:
    pairs = ((a.above, b.above), (a.pixels, b.pixels), *zip(a.counts, b.counts, strict=True))
    return a.images == b.images and all(np.array_equal(mine, theirs) for mine, theirs in pairs)


def same_curve(a: Curve, b: Curve) -> bool:
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in ("bins", "p", "n"))


def test_many_chunks_give_what_the_arrays_in_memory_give(store):
    """Against the arrays themselves, scored as one map: neither chunks nor rows that wait leave a trace."""
    kind, plan = store.schema.kind, plan_of(store)
    name = "logits" if kind == "pixel" else "mask_logits"
    assert len(store.record(0).arrays[name].chunks) == 10
    assert max(scene.codes.size for scene in random_scenes(kind)) > WAITING
    direct = Tally.zero(plan)
    for scene in random_scenes(kind):
        labels = np.array([0, 1, *[2] * 254])[scene.codes].astype(np.uint8).ravel()
        direct.images += 1
        direct.pixels += [(labels == 0).sum(), (labels == 1).sum()]
        for i, ranks in all_ranks(plan, scene.values, scene.codes.shape).items():
            layout, ranks = plan.bins(plan.pairs[i]).layout, np.ascontiguousarray(ranks).ravel()
            count(ranks, labels, layout, direct.of_pair(i))
            count_above(ranks, labels, plan.threshold_ranks[i], direct.above[i])
    found = tally_of(store, plan, range(IMAGES))
    for i, pair in enumerate(plan.pairs):  # the last place, of ignored pixels, follows the bins of each pair
        places = 2 * plan.bins(pair).count
        assert np.array_equal(whole(found.of_pair(i))[:places], whole(direct.of_pair(i))[:places]), pair
    assert np.array_equal(found.above, direct.above)
    assert (found.images, found.pixels.tolist()) == (direct.images, direct.pixels.tolist())


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_three_workers_give_the_identical_rows(store, protocol):
    plan = plan_of(store, protocol)
    assert score_store(store, plan, 1) == score_store(store, plan, 3)


def test_workers_that_share_a_tally_change_nothing(store, monkeypatch):
    plan = plan_of(store)
    parts = split(plan, 3)
    assert len(parts) == 3
    assert sorted(i for part in parts for i in part) == list(range(len(plan.pairs)))
    alone = tally_of(store, plan, range(IMAGES))
    monkeypatch.setattr(walk, "TOTALS_BYTES", 1)
    assert same(tally_store(store, plan, range(IMAGES), 3, lambda: None), alone)


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["standard", "legacy"])
@settings(max_examples=4, deadline=None)
@given(order=st.permutations(range(IMAGES)), cut=st.integers(0, IMAGES))
def test_any_split_and_order_of_images_adds_to_the_identical_counts(store, protocol, order, cut):
    plan = plan_of(store, protocol)
    total = Tally.zero(plan)
    for part in (order[:cut], order[cut:]):
        total.add(tally_of(store, plan, part))
    whole = tally_of(store, plan, range(IMAGES))
    assert whole.images == IMAGES and whole.pixels.all()
    assert same(total, whole)


def test_the_figures_do_not_move_when_the_same_images_are_counted_twice(store):
    """All counts double; every figure is a ratio of counts."""
    plan = plan_of(store)
    once, twice = tally_of(store, plan, range(IMAGES)), tally_of(store, plan, [*range(IMAGES)] * 2)
    for a, b in zip(make_rows(store, plan, once), make_rows(store, plan, twice), strict=True):
        assert (b.images, b.pixels, b.positives) == (2 * a.images, 2 * a.pixels, 2 * a.positives)
        assert b.auroc == pytest.approx(a.auroc, abs=1e-12) and b.iou == a.iou
        assert b.best_f1 == a.best_f1 and b.best_f1_threshold == a.best_f1_threshold


@pytest.mark.parametrize("workers", [1, 3])
def test_damage_is_named_and_nothing_is_scored_around_it(store, workers):
    name = "logits" if store.schema.kind == "pixel" else "mask_logits"
    chunk = next(Path(store.path, name, "c", "4").rglob("*[0-9]"))
    chunk = chunk if chunk.is_file() else next(path for path in sorted(chunk.rglob("*")) if path.is_file())
    whole = chunk.read_bytes()
    try:
        for damage in (whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:], whole[:20], None):
            chunk.unlink() if damage is None else chunk.write_bytes(damage)
            with pytest.raises(IntegrityError, match=re.escape(f"{store.path}: image '4.png': {name}/c/4/")):
                tally_of(store, plan_of(store), range(IMAGES), workers)
    finally:
        chunk.write_bytes(whole)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("methods", [["msp"], ["maxlogit"]], ids=" ".join)
@pytest.mark.parametrize("kind", METHODS)
def test_logits_that_are_not_finite_are_damage(tmp_path, monkeypatch, kind, methods, value):
    """`legacy` scores maxlogit alone on another path than msp alone."""
    scenes = random_scenes(kind, 3)
    scenes[1].values["logits" if kind == "pixel" else "mask_logits"][2, 7, 3] = value
    monkeypatch.setattr(commit, "_all_finite", lambda _values: True)  # an older release let them in
    store = write_store(tmp_path / "store", scenes)
    for protocol in PROTOCOLS.values():
        plan = make_plan(store.schema, protocol, methods, [1.0])
        with pytest.raises(IntegrityError, match=r"image '1\.png': finite logits were expected, "):
            tally_of(store, plan, range(3))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_score_maps_are_what_is_counted(store, protocol):
    plan = plan_of(store, protocol)
    picture = read_picture(store, GroundTruth(store, plan.protocol, range(IMAGES)), 2)
    tally = Tally.zero(plan)
    every = range(len(plan.pairs))
    picture.count(plan, every, tally.counts, tally.above)
    for i, scores in picture.score_maps(plan, every):
        bins, counts = plan.bins(plan.pairs[i]), no_counts(tally.counts.low.shape[1])
        labels = picture.labels.ravel()
        count(np.ascontiguousarray(scores).ravel(), labels, bins.layout, counts)
        assert same_curve(tally.curve(i), curve_of(whole(counts)[: 2 * bins.count].reshape(2, -1)))


def test_rows_carry_their_facts(store):
    rows = score_store(store, plan_of(store, "course"))
    row = asdict(rows[0])
    facts = {"store": str(store.path), "network": "fake", "kind": store.schema.kind, "dataset": "Tiny"}
    facts |= {"protocol": "course", "method": "msp", "temperature": 0.5, "images": IMAGES}
    assert {name: row[name] for name in facts} == facts
    assert [entry["threshold"] for entry in row["iou"]] == list(THRESHOLDS)
    assert {r.temperature for r in rows if r.method == "maxlogit"} == {None}


def test_the_best_threshold_is_a_score_and_gives_the_best_f1(store):
    plan = plan_of(store)
    for i, row in enumerate(score_store(store, plan)):
        again = replace(plan, pairs=plan.pairs[i : i + 1], thresholds=(row.best_f1_threshold,))
        (iou,) = score_store(store, again)[0].iou
        # F1 = 2 IoU / (1 + IoU); one pixel in 10**4 may lie on the other side of a rounded edge
        assert 2 * iou["anomaly"] / (1 + iou["anomaly"]) == pytest.approx(row.best_f1, abs=1e-3)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="memory is counted otherwise on Windows")
def test_histograms_take_up_memory_only_where_they_are_filled(store):
    """Half a gigabyte of bins, a hundred of them filled: adding tallies and making rows touches nothing more."""
    plan = make_plan(store.schema, PROTOCOLS["standard"], None, [1 + t / 10 for t in range(20)])
    process = psutil.Process()
    before = process.memory_info().rss
    part, total = Tally.zero(plan), Tally.zero(plan)
    assert part.counts.low.nbytes + part.counts.carries.nbytes > 1 << 29
    part.counts.low[:, 1000:1100] += 1
    part.pixels[0] = 100
    total.add(part)
    assert {row.auroc for row in make_rows(store, plan, total)} == {None}
    assert process.memory_info().rss - before < 64 << 20
