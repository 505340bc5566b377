"""Logits of tiny spread have the figures of float64, as all others have."""

import pickle

import numpy as np
import pytest
from reference import RULES, Pool, Scene, figures, pool
from scipy.special import logsumexp
from scoring import made_scenes, write_store

from logitpipe.runs.fitting import fit_stores
from logitpipe.runs.planning import plan_stores
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
    plan = planned(store, ["core", "gini", "renyi", "margin", "gen"], TEMPERATURES)
    assert plan.fine == (name != "1")
    rows = [scored.row for scored in sweep(store, plan, range(3), 1, lambda: None, resolve="all")]
    assert len(rows) == 8 * len(TEMPERATURES) + 1
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


def kl_matching(z, means):
    """In long double, as KL is a small difference of large terms."""
    e = np.exp(z - z.max(axis=0))
    p = e / e.sum(axis=0)
    return np.min([(p * (np.log(p) - np.log(d)[:, None])).sum(axis=0) for d in means], axis=0)


def test_statistics_of_them_are_fitted_and_used(tmp_path):
    """Of pixels of other images, mean posteriors that differ in their fifth digit."""
    scenes, store = made(tmp_path, CHANGES["1e-4"])
    normal = write_store(
        tmp_path / "normal", [Scene(s.name, s.values, np.where(s.codes == 1, 255, s.codes)) for s in scenes], VOID
    )
    fit_stores([normal.path], tmp_path / "s", ["gen"], [0.5], PROTOCOLS["standard"], "own", None, workers=1)
    ((_, plan),) = plan_stores(
        [store.path], ["kl", "gen:top=2", "z:gen"], [0.5], PROTOCOLS["standard"], (), (), statistics=tmp_path / "s"
    )
    codes = np.concatenate([scene.codes.ravel() for scene in scenes])
    logits = np.concatenate([scene.values["logits"].reshape(VOID + 1, -1) for scene in scenes], axis=1)
    z, counted = logits[:VOID].astype(np.longdouble) / np.longdouble(0.5), codes != 255
    p = np.exp(z) / np.exp(z).sum(axis=0)
    means = [p[:, (codes == 0) & (z.argmax(axis=0) == k)].mean(axis=1) for k in range(VOID)]
    ordered = np.sort(p, axis=0)[-2:]
    gen = np.sort(p * (1 - p), axis=0) ** np.longdouble(0.1)
    expected = {
        "kl": kl_matching(z, means),
        "gen": ((ordered * (1 - ordered)) ** np.longdouble(0.1)).sum(axis=0),
        "z:gen": gen.sum(axis=0),
    }
    for scored in sweep(store, plan, range(3), 1, lambda: None, resolve="all"):
        scores = expected[scored.row.method]
        # Long double orders them; scikit-learn would round them to float64.
        order = np.unique(scores[counted], return_inverse=True)[1]
        assert_figures(scored.row, figures(Pool(order.astype(float), codes[counted] == 1, 3), "first"))


@pytest.mark.parametrize("change", ["1", "constant"])
def test_other_stores_are_planned_as_ever(tmp_path, change, capsys):
    _, store = made(tmp_path, (CHANGES | {"constant": np.zeros_like})[change])
    plan = planned(store, ["all"], TEMPERATURES)
    assert plan == make_plan(store.schema, PROTOCOLS["standard"], ["all"], TEMPERATURES)
    assert plan.methods == PIXEL_METHODS
    assert not capsys.readouterr().err
