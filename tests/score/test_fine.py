"""Logits of tiny spread have the figures of float64, as all others have."""

import pickle

import numpy as np
import pytest
from reference import RULES, Pool, figures, pool
from scipy.special import logsumexp
from scoring import made_scenes, write_store

from logitpipe.cache.errors import PipeError
from logitpipe.runs.scoring import plan_stores
from logitpipe.stages.score.methods import PIXEL_METHODS
from logitpipe.stages.score.passes.exact import exact_rows
from logitpipe.stages.score.passes.sweep import sweep
from logitpipe.stages.score.plan import make_plan
from logitpipe.stages.score.protocols import PROTOCOLS

TEMPERATURES = [0.5, 1.0, 2.0]
VOID = 5
CHANGES = {
    "1e-6": lambda logits: (logits * 1e-6).astype(np.float32),
    "1e-4": lambda logits: (logits * 1e-4).astype(np.float32),
    "1e-4 of a smaller size, float16": lambda logits: (logits[:, ::2, ::2] * 1e-4).astype(np.float16),
    "1e-2": lambda logits: (logits * 1e-2).astype(np.float32),
    "1": lambda logits: logits,
}


def made(folder, change):
    scenes = made_scenes("pixel", change)
    return scenes, write_store(folder / "store", scenes, VOID)


def planned(store, methods, temperatures):
    ((_, plan),) = plan_stores([store.path], methods, temperatures, PROTOCOLS["standard"], (), ())
    return plan


def assert_figures(row, expected):
    found = {name: getattr(row, name) for name in expected}
    assert found == pytest.approx(expected, abs=1e-5), (row.method, row.temperature)


@pytest.mark.slow
@pytest.mark.parametrize("name", CHANGES)
def test_figures_are_those_of_float64(tmp_path, name):
    scenes, store = made(tmp_path, CHANGES[name])
    plan = planned(store, ["core", "gini", "renyi", "margin"], TEMPERATURES)
    assert plan.fine == (name != "1")
    rows = [scored.row for scored in sweep(store, plan, range(3), 1, lambda: None, resolve="all")]
    assert len(rows) == 7 * len(TEMPERATURES) + 1
    for row in rows:
        own = pool(scenes, "Tiny", RULES["standard"], row.method, row.temperature or 1.0, VOID)
        assert_figures(row, figures(own, "first"))


def log_scores(method, z, void, T):
    """Scores or their logarithms, where float64 does not hold the scores of so large logits."""
    ordered = np.sort(z, axis=0)[::-1] / T
    distances, rest = ordered[1:] - ordered[0], logsumexp(ordered[1:] - ordered[0], axis=0)
    log1p = np.logaddexp(0, rest)
    if method == "entropy":  # H (1 + r) = (1 + r) log(1 + r) - sum d exp d
        first = np.where(rest < -30, rest, np.log(np.maximum(log1p, 1e-300)) + log1p)
        terms = distances + np.log(-distances)
        return logsumexp(np.concatenate([first[None], terms]), axis=0) - log1p
    return {
        "msp": rest,
        "void": void / T - ordered[0] - log1p,
        "energy": -T * (ordered[0] + log1p),
        "maxlogit": -ordered[0],
    }[method]


@pytest.mark.slow
def test_figures_of_very_large_logits_are_those_of_float64(tmp_path):
    scenes, store = made(tmp_path, lambda logits: (logits * 1e4).astype(np.float32))
    plan = planned(store, ["core"], TEMPERATURES)
    assert not plan.fine
    codes = np.concatenate([scene.codes.ravel() for scene in scenes])
    z = np.concatenate([scene.values["logits"].reshape(VOID + 1, -1) for scene in scenes], axis=1)[:, codes != 255]
    for scored in sweep(store, plan, range(3), 1, lambda: None, resolve="all"):
        row, z64 = scored.row, z.astype(np.float64)
        scores = log_scores(row.method, z64[:VOID], z64[VOID], row.temperature or 1.0)
        assert_figures(row, figures(Pool(scores, codes[codes != 255] == 1, 3), "first"))


def test_exact_figures_and_the_plan_of_a_worker_are_fine_too(tmp_path, capsys):
    scenes, store = made(tmp_path, CHANGES["1e-6"])
    plan = planned(store, ["entropy", "maxlogit"], [1.0])
    assert "differ by 3.3e-05 at most" in capsys.readouterr().err
    sent = pickle.loads(pickle.dumps(plan))
    rows = [scored.row for scored in sweep(store, sent, range(3), 1, lambda: None)]
    for row in exact_rows(store, sent, range(3), rows, lambda: None):
        assert_figures(row, figures(pool(scenes, "Tiny", RULES["standard"], row.method, 1.0, VOID), "first"))


def test_methods_that_float32_cannot_order_are_left_out(tmp_path):
    _, store = made(tmp_path, CHANGES["1e-6"])
    assert "gen" not in {pair.method for pair in planned(store, ["all"], [1.0]).pairs}
    with pytest.raises(PipeError, match="'gen' cannot be computed"):
        planned(store, ["msp", "gen"], [1.0])


@pytest.mark.parametrize("change", ["1", "constant"])
def test_other_stores_are_planned_as_ever(tmp_path, change, capsys):
    _, store = made(tmp_path, (CHANGES | {"constant": np.zeros_like})[change])
    plan = planned(store, ["all"], TEMPERATURES)
    assert plan == make_plan(store.schema, PROTOCOLS["standard"], ["all"], TEMPERATURES)
    assert plan.methods == PIXEL_METHODS
    assert not capsys.readouterr().err
