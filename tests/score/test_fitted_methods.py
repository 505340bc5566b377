"""Methods that need statistics of `pipe fit`, or a whole image: held against their formulas in float64."""

import csv
import hashlib
import json
from dataclasses import replace
from inspect import signature

import numpy as np
import pytest
from conftest import fails
from pages import call
from reference import Scene, upsample
from scipy.special import expit, softmax
from scoring import random_values, write_store
from stores import fill, make_schema

from logitpipe.cache import PipeError
from logitpipe.results.fitted import read_fitted
from logitpipe.results.reading import read_results
from logitpipe.stages.score.fitted import Fitted
from logitpipe.stages.score.labels.ground_truth import GroundTruth
from logitpipe.stages.score.methods import METHODS
from logitpipe.stages.score.methods.smoothing import smoothed, suppressed
from logitpipe.stages.score.passes.fit import Fit, fit, fitting_protocol
from logitpipe.stages.score.picture import read_picture
from logitpipe.stages.score.plan import Pair, make_plan
from logitpipe.stages.score.protocols import PROTOCOLS

K, SIZE, STANDARD = 4, (21, 26), PROTOCOLS["standard"]
TEMPERATURES = (0.1, 1.0, 3.0)
Z_THRESHOLD = 0.5


def stored(folder, kind: str, codes: tuple[int, ...]):
    noise = np.random.default_rng(4)
    scenes = []
    for i in range(2):
        values = random_values(noise, kind, K + 1 if kind == "pixel" else 6, (10, 13), K)
        scenes.append(Scene(f"{i}.png", values, noise.choice(np.array(codes, np.uint8), SIZE)))
    return write_store(folder, scenes, K if kind == "pixel" else None)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return stored(tmp_path_factory.mktemp("scored") / "a", "pixel", (0, 1, 255))


@pytest.fixture(scope="module")
def fitted(tmp_path_factory) -> Fitted:
    store = stored(tmp_path_factory.mktemp("fitted") / "a", "pixel", (0,))
    plan = make_plan(store.schema, fitting_protocol(STANDARD), ["msp"], TEMPERATURES)
    return fit([Fit(store, plan, store.completed())], 1, lambda: None)


def scores_of(store, plan, image=0):
    picture = read_picture(store, GroundTruth(store, plan.protocol, [image]), image)
    return {pair: picture.formula_map(plan, i) for i, pair in enumerate(plan.pairs)}


@pytest.mark.parametrize("protocol", ["standard", "legacy"])
def test_against_the_formulas(store, fitted, protocol):
    """Void is never one of the classes, whatever the protocol: statistics are of the known ones."""
    under = replace(PROTOCOLS[protocol], min_max=frozenset())
    plan = make_plan(store.schema, under, ["sml", "sml+", "kl"], TEMPERATURES, statistics=fitted)
    assert len(plan.pairs) == 2 + len(TEMPERATURES)
    size = SIZE if protocol == "standard" else (10, 13)
    z = upsample(store.read("logits", 0).astype(np.float64)[:K], size)
    for pair, found in scores_of(store, plan).items():
        reference = METHODS["pixel"][pair.method].reference
        given = {"z": z, "T": pair.temperature, "statistics": fitted}
        expected = reference(**{name: given[name] for name in signature(reference).parameters})
        if pair.method == "sml+":
            expected = smoothed(suppressed(expected, z.argmax(axis=0)))
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=2e-5, err_msg=str(pair))


def test_without_statistics_there_are_no_such_methods(store, fitted):
    plan = make_plan(store.schema, STANDARD, ["all"], [1.0])
    assert not {"sml", "sml+", "kl"} & {pair.method for pair in plan.pairs}
    with pytest.raises(
        PipeError, match=r"no mean posteriors at T = 2, which kl needs; there are T = 0\.1, T = 1, T = 3"
    ):
        scores_of(store, make_plan(store.schema, STANDARD, ["kl"], [2.0], statistics=fitted))


def test_query_smoothed(tmp_path):
    store = stored(tmp_path / "a", "mask", (0, 1))
    plan = make_plan(store.schema, STANDARD, ["query-smoothed"], [0.5])
    ((_, found),) = scores_of(store, plan).items()
    M = expit(store.read("mask_logits", 0).astype(np.float64))
    P = softmax(store.read("class_logits", 0).astype(np.float64) / 0.5, axis=1)
    claims = (P[:, :K].max(axis=1)[:, None, None] * upsample(M, SIZE)).argmax(axis=0)
    S = upsample(np.einsum("qk,qhw->khw", P[:, :K], M), SIZE)
    expected = METHODS["mask"]["query-smoothed"].reference(S, claims)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    # A protocol that computes `msp` as scripts do does not change what other methods are made of.
    scripted = replace(plan, protocol=replace(STANDARD, sum_epsilon=0.1))
    assert np.array_equal(scores_of(store, scripted)[plan.pairs[0]], found)
    msp = 1 - S.max(axis=0) / S.sum(axis=0)
    for query in np.unique(claims):
        part = msp[claims == query]
        np.testing.assert_allclose(found[claims == query], (part + part.mean()) / 2, rtol=1e-5)


def test_scoring_with_statistics_says_where_they_came_from(tmp_path):
    normal = fill(tmp_path / "normal.zarr", make_schema("pixel"), codes=(0,))
    store = fill(tmp_path / "enet.zarr", make_schema("pixel"))
    assert call("fit", normal, "--out", tmp_path / "s", "--methods", "msp").exit_code == 0
    words = ["score", store, "--methods", "msp,sml,sml+,kl", "--statistics", tmp_path / "s.json"]
    result = call(*words, "--json", "--out", tmp_path / "out")
    assert result.exit_code == 0, result.stderr
    assert [row["method"] for row in json.loads(result.stdout)["results"]] == ["msp", "sml", "sml+", "kl"]
    (described,) = json.loads((tmp_path / "out" / "settings.json").read_text())["run"]["stores"]
    statistics = described["statistics"]
    assert len(statistics["sha256"]) == 64
    assert [each["store"] for each in statistics["stores"]] == [str(normal)]

    other = fill(tmp_path / "other.zarr", replace(make_schema("pixel"), weights_sha256="11" * 32))
    line = (
        "pipe: the statistics are those of enet with other weights than the store of enet on Tiny has; fit them with "
        "`pipe fit` on a store of this network"
    )
    fails(call("score", other, "--methods", "sml", "--statistics", tmp_path / "s"), line)
    result = call("score", store, "--temperatures", f"fit:{tmp_path / 's'}")
    assert result.stderr.splitlines()[-1].startswith(
        f"pipe: {tmp_path / 's'} has no fitted temperature of enet; fit it"
    )
    assert call("score", store, "--methods", "sml").exit_code == 1


@pytest.mark.parametrize("kind", ["pixel", "mask"])
def test_fitted_temperatures(kind, tmp_path):
    store = fill(tmp_path / "a.zarr", make_schema(kind), codes=(0, 1, 255))
    normal = fill(tmp_path / "b.zarr", make_schema(kind), codes=(0,))
    assert call("fit", normal, "--out", tmp_path / "s", "--methods", "msp").exit_code == 0
    document = json.loads((tmp_path / "s.json").read_text())
    document["networks"][0]["least_nll"] = {"temperature": 1.25, "nll": 1.0, "nll_at_1": 1.1, "pixels": 9}
    (tmp_path / "s.json").write_text(json.dumps(document))
    methods = "msp" if kind == "pixel" else "softmax-msp"
    result = call("score", store, "--methods", methods, "--temperatures", f"fit:{tmp_path / 's'}", "--json")
    assert result.exit_code == 0, result.stderr
    (row,) = json.loads(result.stdout)["results"]
    found = row["temperature"], row["map_temperature"]
    assert found == ((1.25, None) if kind == "pixel" else (1, 1.25))
    result = call("score", store, "--methods", methods, "--temperatures", f"0.5,fit:{tmp_path / 's'}", "--json")
    assert len(json.loads(result.stdout)["results"]) == 2


@pytest.fixture(scope="module")
def scored(store, tmp_path_factory):
    """Statistics of three methods, and the figures of these and of their z-scores."""
    folder = tmp_path_factory.mktemp("z")
    normal = stored(folder / "normal", "pixel", (0,))
    words = [
        "fit",
        normal.path,
        "--out",
        folder / "s",
        "--methods",
        "msp,maxlogit,gen:gamma=0.5",
        "--temperatures",
        2,
    ]
    assert call(*words).exit_code == 0
    methods = "msp,maxlogit,z:MSP,z:gen:gamma=0.5,z:msp+maxlogit"
    words = ["--methods", methods, "--temperatures", 2, "--statistics", folder / "s", "--threshold", Z_THRESHOLD]
    result = call("score", store.path, *words, "--json", "--out", folder / "out")
    assert result.exit_code == 0, result.stderr
    return folder / "s", folder / "out", {row["method"]: row for row in json.loads(result.stdout)["results"]}


def test_a_z_score_orders_pixels_as_its_method_does(store, scored):
    path, _, rows = scored
    (fitted,) = read_fitted(path)
    mean, deviation = fitted.score(Pair("msp", 2.0))
    msp, z = rows["msp"], rows["z:msp"]
    for name in ("auprc", "fpr95", "auroc", "best_f1", "best_iou"):
        assert msp[name] == z[name], name
    assert z["best_f1_threshold"] == pytest.approx((msp["best_f1_threshold"] - mean) / deviation)
    at = str(Z_THRESHOLD * deviation + mean)
    words = ["score", store.path, "--methods", "msp", "--temperatures", 2, "--threshold", at, "--json"]
    (plain,) = json.loads(call(*words).stdout)["results"]
    assert 0 < plain["iou"][0]["anomaly"] < 1
    assert [plain["iou"][0][name] for name in ("normal", "anomaly")] == [
        z["iou"][0][name] for name in ("normal", "anomaly")
    ]


def z_plan(store, fitted, *methods):
    return make_plan(store.schema, STANDARD, methods, [2.0], statistics=fitted)


def test_a_mean_of_z_scores_is_that_of_the_formulas(store, scored):
    (fitted,) = read_fitted(scored[0])
    parts = scores_of(store, make_plan(store.schema, STANDARD, ["msp", "maxlogit"], [2.0]))
    moments = [fitted.score(pair) for pair in parts]
    each = [(scores - mean) / deviation for scores, (mean, deviation) in zip(parts.values(), moments, strict=True)]
    ((pair, found),) = scores_of(store, z_plan(store, fitted, "z:msp+maxlogit")).items()
    np.testing.assert_allclose(found, np.mean(each, axis=0), atol=1e-6)
    assert pair == Pair("z:msp+maxlogit", 2.0)
    plan = z_plan(store, fitted, "z:msp+maxlogit", "z:msp")
    for i, pair in enumerate(plan.pairs):
        ranks = np.linspace(-3, -0.5, 5, dtype=np.float32)
        np.testing.assert_allclose(plan.rank(pair, plan.formula(pair, ranks)), ranks, rtol=1e-4, err_msg=str(i))


def test_rows_carry_the_digest_of_what_they_used(scored):
    path, out, rows = scored
    digest = hashlib.sha256(path.with_name("s.json").read_bytes()).hexdigest()
    used = {name: row["statistics"] for name, row in rows.items()}
    assert used == {name: digest if name.startswith("z:") else "" for name in rows}
    (read,) = read_results([out]).entries
    assert {series.method: series.rows[0].statistics for series in read.series} == used
    lines = csv.DictReader((out / "results.csv").read_text().splitlines())
    assert {line["method"]: line["statistics"] for line in lines} == used


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            ["--methods", "kl", "--temperatures", "0.5,2"],
            "no mean posteriors at T = 0.5, which kl needs; there are T = 2",
        ),
        (["--methods", "z:msp"], "no scores of msp at T = 1; there are msp at T = 2"),
        (["--methods", "z:gini"], "no scores of gini at T = 1; there are msp, maxlogit, gen"),
        (["--methods", "z:sml"], "sml compares with fitted statistics itself"),
        (["--methods", "z:all"], "z-scores are those of methods by name, found 'all'"),
        (["--methods", "z:rba"], "none of z:rba can be computed from the pixel store"),
        (["--methods", "z:nothing"], "'nothing' is no method"),
        (["--methods", "z:msp", "--temperatures", "2", "--protocol", "legacy"], "void-channel"),
    ],
)
def test_what_was_not_fitted_is_refused_before_anything_is_scored(store, scored, words, line):
    result = call("score", store.path, *words, "--statistics", scored[0])
    assert result.exit_code in (1, 2)
    assert line in result.stderr.splitlines()[-1]
    assert "scoring" not in result.stderr


def test_without_statistics_that_is_said(store):
    for method in ("sml", "z:msp"):
        words = (
            f"{method} compares scores with what they are where nothing is anomalous, and no statistics of fake were"
        )
        line = f"pipe: {words} given; name a file of `pipe fit` with --statistics"
        fails(call("score", store.path, "--methods", f"msp,{method}"), line)
