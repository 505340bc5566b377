"""A second walk leaves no digit open: its figures are those of all scores, in order, by scikit-learn."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from scoring import made_scenes, score_store, write_store

from logitpipe.cache import PipeError
from logitpipe.stages.score.figures.rows import BOUNDED, has_open_digit, printed
from logitpipe.stages.score.kernels.counting.bins import ANOMALY, IGNORED, NORMAL, Bins
from logitpipe.stages.score.kernels.counting.gaps import count_gaps, first_edges
from logitpipe.stages.score.labels.ground_truth import GroundTruth
from logitpipe.stages.score.methods import METHODS
from logitpipe.stages.score.passes import sweep as sweep_module
from logitpipe.stages.score.passes.exact import exact_rows
from logitpipe.stages.score.passes.sweep import sweep
from logitpipe.stages.score.passes.walk import walk
from logitpipe.stages.score.plan import make_plan
from logitpipe.stages.score.protocols import PROTOCOLS
from logitpipe.stages.score.statistics.gaps import Gaps, Positives, edges_of

CHANGES = {
    "as they are": lambda logits: logits,
    "float16": lambda logits: logits.astype(np.float16).astype(np.float32),
    "rounded to 1": np.round,
    "constant": np.zeros_like,
}


@pytest.fixture(scope="module", params=[(kind, change) for kind in METHODS for change in CHANGES], ids=" ".join)
def store(request, tmp_path_factory):
    kind, change = request.param
    void = 5 if kind == "pixel" else None
    return write_store(tmp_path_factory.mktemp(kind) / "store", made_scenes(kind, CHANGES[change]), void)


@pytest.mark.slow
@pytest.mark.parametrize(("protocol", "rule"), [("standard", "first"), ("standard", "above"), ("legacy", "linear")])
def test_all_resolved_figures_are_those_of_every_single_score(store, protocol, rule, monkeypatch):
    """Also where scores do not all fit memory, and where bins laid ever closer do not help."""
    chosen = replace(PROTOCOLS[protocol], fpr=rule)
    plan, images = make_plan(store.schema, chosen, None, [0.5, 2.0]), range(3)
    sorted_rows = resolved(store, plan)
    exact = exact_rows(store, plan, images, sorted_rows, lambda: None)
    monkeypatch.setattr(sweep_module, "ALL_BYTES", 0)
    laid_rows = resolved(store, plan)
    monkeypatch.setattr(sweep_module, "SHARES", ())
    by_gaps = resolved(store, plan)
    for rows in (sorted_rows, laid_rows, by_gaps):
        for row, expected in zip(rows, exact, strict=True):
            assert not has_open_digit(row), (row.method, row.temperature)
            for name in BOUNDED:
                lower, upper, figure = (getattr(row, f"{name}{end}") for end in ("_lower", "_upper", ""))
                assert lower - 2e-9 <= getattr(expected, name) <= upper + 2e-9, (row.method, name)
                assert printed(figure) == printed(getattr(expected, name))
                assert figure == pytest.approx(getattr(expected, name), abs=2e-9 + upper - lower)
            assert row.best_iou <= expected.best_iou + 1e-12


def resolved(store, plan):
    return [scored.row for scored in sweep(store, plan, range(3), 2, lambda: None, resolve="all")]


def test_only_what_a_summary_shows_is_resolved(tmp_path):
    store = write_store(tmp_path / "store", made_scenes("pixel"), void=5)
    plan = make_plan(store.schema, PROTOCOLS["standard"], ["msp", "maxlogit"], [0.5, 1.0, 4.0, 9.0])
    none = [scored.row for scored in sweep(store, plan, range(3), 1, lambda: None)]
    some = [scored.row for scored in sweep(store, plan, range(3), 1, lambda: None, resolve="summary")]
    best = max((row for row in none if row.method == "msp"), key=lambda row: row.auprc)
    for before, after in zip(none, some, strict=True):
        shown = before.temperature in (None, 1) or before.auprc_upper >= best.auprc_lower
        assert has_open_digit(before)
        assert has_open_digit(after) == (not shown)
        assert shown or after == before
        for name in BOUNDED:  # what is found later lies within what was known before
            lower, upper = getattr(before, f"{name}_lower"), getattr(before, f"{name}_upper")
            assert lower - 1e-12 <= getattr(after, name) <= upper + 1e-12


def test_what_is_collected_travels_and_adds_up(tmp_path):
    store = write_store(tmp_path / "store", made_scenes("pixel"))
    plan = make_plan(store.schema, PROTOCOLS["standard"], ["msp", "maxlogit"], [1.0])
    truth = GroundTruth(store, plan.protocol, range(3))
    row = score_store(store, plan)[0]
    positives = row.positives
    collected = Positives(plan, positives)
    edges = collected.finish(walk(truth, range(3), collected, 2, lambda: None))
    between = Gaps(plan, edges)
    whole = between.finish(walk(truth, range(3), between, 2, lambda: None))
    for statistic in (collected, between):
        total = statistic.zero()
        for image in (2, 0, 1):
            part = walk(truth, [image], statistic, 1, lambda: None)
            total.add(statistic.from_arrays(part.to_arrays()))
        found = statistic.finish(total)
        if statistic is between:
            assert found == whole
        else:
            assert all(np.array_equal(a.scores, b.scores) for a, b in zip(found, edges, strict=True))
    with pytest.raises(PipeError, match="other scores were collected than were counted"):
        collected.finish(collected.zero())


@pytest.mark.parametrize("decimals", [0, 1, 9])
def test_gaps_are_those_of_a_sort(decimals):
    """Also in the outermost bins, in the bin of zero and where scores tie."""
    noise, bins = np.random.default_rng(decimals), Bins(3, negative=(-2, 1), positive=(-2, 2))
    scores = np.round(noise.normal(0, 2, 3000), decimals).astype(np.float32)
    scores[:20] = np.repeat(np.float32([-np.inf, np.inf, 0, -0.0]), 5)
    labels = noise.choice(np.uint8([NORMAL, ANOMALY, IGNORED]), 3000, p=(0.6, 0.2, 0.2))
    labels[:20] = np.tile(np.uint8([NORMAL, ANOMALY]), 10)
    edges = edges_of(scores[labels == ANOMALY])
    gaps = np.zeros(2 * edges.scores.size + 1, np.uint32)
    count_gaps(scores, labels, bins.layout, first_edges(edges.scores, bins.layout), edges.scores, gaps)
    normal = scores[labels == NORMAL]
    assert gaps[1::2].tolist() == [(normal == edge).sum() for edge in edges.scores]
    ends = [-np.inf, *edges.scores.tolist(), np.inf]
    inside = [((normal > low) & (normal < high)).sum() for low, high in pairwise(ends)]
    assert gaps[::2].tolist() == inside and edges.pixels.sum() == (labels == ANOMALY).sum()
