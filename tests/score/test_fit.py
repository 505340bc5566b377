"""In-distribution statistics: against float64 and the formulas, and the same whatever divides the work."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import Scene, mask_score, pixel_score, upsample
from scipy.optimize import minimize_scalar
from scipy.special import expit, log_softmax, softmax
from scoring import describe, random_values, write_store

from logitpipe.cache import PipeError
from logitpipe.results.fitted import read_fitted, write_fitted
from logitpipe.stages.score.fitted import Fitted, identity_of, of_store
from logitpipe.stages.score.labels.spaces import LabelSpace
from logitpipe.stages.score.passes.fit import Fit, fit, fitting_protocol, least
from logitpipe.stages.score.passes.walk import walk
from logitpipe.stages.score.plan import make_plan
from logitpipe.stages.score.protocols import PROTOCOLS, with_choices
from logitpipe.stages.score.statistics.in_distribution import InDistribution, Moments

K, SIZE, STORED = 4, (20, 26), (10, 15)
TEMPERATURES = (0.5, 2.0)
CODES = {f"class {k}": k for k in range(K)}
SPACE = LabelSpace("own", tuple(CODES), CODES)
PROTOCOL = fitting_protocol(
    with_choices(PROTOCOLS["standard"], {"label-codes": "normal=0-3,anomaly=9,void=255"}),
)


def class_map(values) -> np.ndarray:
    """Logits of the known classes, or S of a mask network, at the evaluation size: float64 (K, H, W)."""
    if "logits" in values:
        return upsample(values["logits"].astype(np.float64), SIZE)[:K]
    M, P = expit(values["mask_logits"].astype(np.float64)), softmax(values["class_logits"].astype(np.float64), axis=1)
    return upsample(np.einsum("qk,qhw->khw", P[:, :K], M), SIZE)


def scenes_of(kind: str) -> list[Scene]:
    """Three images, the second with an anomaly; class 3 is never the largest of a pixel's logits.

    The classes are drawn from what the network says, at T = 3 or T_S = 0.2.
    """
    noise, scenes = np.random.default_rng(3), []
    for i in range(3):
        values = random_values(noise, kind, K + 1 if kind == "pixel" else 6, STORED, K)
        if kind == "pixel":
            values["logits"][3] = -40
        z = class_map(values) / (3 if kind == "pixel" else 0.2)
        codes = (z + noise.gumbel(size=z.shape)).argmax(axis=0).astype(np.uint8)
        codes[noise.random(SIZE) < 0.2] = 255
        if i == 1:
            codes[3:5, 3:5] = 9
        scenes.append(Scene(f"{i}.png", values, codes))
    return scenes


@pytest.fixture(scope="module", params=["pixel", "mask"])
def fits(request, tmp_path_factory):
    kind = request.param
    store = write_store(tmp_path_factory.mktemp(kind) / "a", scenes_of(kind), K if kind == "pixel" else None)
    plan = make_plan(store.schema, PROTOCOL, None, TEMPERATURES)
    return Fit(store, plan, store.completed(), (SPACE, SPACE.table(CODES)))


@pytest.fixture(scope="module")
def fitted(fits) -> Fitted:
    return fit([fits], 2, lambda: None)


def normal_pixels(fits: Fit) -> list[tuple[Scene, np.ndarray]]:
    """The images that count, and which pixels of them do."""
    return [(scene, scene.codes < K) for scene in scenes_of(fits.store.schema.kind) if 9 not in scene.codes]


def class_maps(fits: Fit) -> np.ndarray:
    """`class_map` of all pixels that count: float64 (K, n)."""
    return np.concatenate([class_map(scene.values)[:, kept] for scene, kept in normal_pixels(fits)], axis=1)


def test_scores_have_the_mean_and_deviation_of_the_formulas(fits, fitted):
    assert fitted.found.images == 2
    for pair, (mean, deviation) in fitted.found.scores.items():
        scores = []
        for scene, kept in normal_pixels(fits):
            T = pair.temperature or 1.0
            if fits.store.schema.kind == "pixel":
                of_image = pixel_score(pair.method, scene.values["logits"], K, T, SIZE)
            else:
                of_image = mask_score(pair.method, **scene.values, T=T, size=SIZE)
            scores.append(of_image[kept])
        expected = np.concatenate(scores)
        assert mean == pytest.approx(expected.mean(), rel=2e-5, abs=2e-6), pair
        assert deviation == pytest.approx(expected.std(ddof=1), rel=2e-5, abs=2e-6), pair


def test_largest_logits_and_posteriors_by_predicted_class(fits, fitted):
    if fits.store.schema.kind == "mask":
        assert fitted.found.posteriors == {}
        return
    z, found = class_maps(fits), fitted.found
    of_class, top = z.argmax(axis=0), z.max(axis=0)
    assert found.count.tolist() == [(of_class == k).sum() for k in range(K)]
    assert found.count[3] == 0
    means, deviations = fitted.largest
    for k in range(K):
        # A class that is predicted nowhere takes the statistics of all pixels.
        part = top[of_class == k] if k < 3 else top
        assert means[k] == pytest.approx(part.mean(), rel=1e-6)
        assert deviations[k] == pytest.approx(part.std(ddof=1), rel=1e-6)
    for T in TEMPERATURES:
        p = softmax(z / T, axis=0)
        expected = [p[:, of_class == k].mean(axis=1) for k in range(3)]
        np.testing.assert_allclose(fitted.posteriors(T), expected, rtol=1e-5)
    with pytest.raises(
        PipeError, match=r"no mean posteriors at T = 3, which kl needs; there are T = 0\.5, T = 2"
    ) as raised:
        fitted.posteriors(3.0)
    assert raised.value.remedy == "fit-temperature"


def test_the_temperature_of_least_nll(fits, fitted):
    """Of pixel networks T in softmax(z / T), of mask networks T_S in softmax(S / T_S)."""
    labels = np.concatenate([scene.codes[kept] for scene, kept in normal_pixels(fits)]).astype(int)
    z = class_maps(fits)

    def nll(octave: float) -> float:
        return float(-log_softmax(z / 2**octave, axis=0)[labels, np.arange(labels.size)].mean())

    best = minimize_scalar(nll, bounds=(-6, 6), method="bounded", options={"xatol": 1e-9})
    assert fitted.least_nll is not None
    assert fitted.least_nll.pixels == labels.size
    assert fitted.least_nll.temperature == pytest.approx(2**best.x, rel=1e-3)
    assert fitted.least_nll.nll == pytest.approx(best.fun, abs=1e-5)
    assert fitted.least_nll.nll_at_1 == pytest.approx(nll(0), abs=1e-5)


def test_least_finds_the_vertex():
    noise = np.random.default_rng(0)
    z = noise.normal(0, 5, (5, 4000))
    labels = (z / 3 + noise.gumbel(size=z.shape)).argmax(axis=0)  # drawn at T = 3

    def nll(T: float) -> float:
        return float(-log_softmax(z / T, axis=0)[labels, np.arange(4000)].mean())

    found = least(lambda temperatures: [nll(T) for T in temperatures])
    best = minimize_scalar(lambda octave: nll(2**octave), bounds=(-6, 6), method="bounded", options={"xatol": 1e-9})
    assert found is not None
    T, value, at_1 = found
    assert pytest.approx(2**best.x, rel=2e-4) == T
    assert value == pytest.approx(best.fun, abs=1e-5)
    assert at_1 == pytest.approx(nll(1))
    assert least(lambda temperatures: list(temperatures)) is None
    assert least(lambda temperatures: [np.nan] * len(temperatures)) is None


@pytest.mark.parametrize(("workers", "parts"), [(3, 1), (1, 3), (2, 2)])
def test_what_divides_the_work_changes_no_bit(fits, workers, parts):
    statistic = InDistribution(fits.plan)
    whole = walk(fits.truth, fits.images, statistic, 1, lambda: None).to_arrays()
    totals = [
        walk(fits.truth, images.tolist(), statistic, workers, lambda: None)
        for images in np.array_split(fits.images, parts)
    ]
    for other in totals[1:]:
        totals[0].add(statistic.from_arrays(other.to_arrays()))
    for name, array in totals[0].to_arrays().items():
        np.testing.assert_array_equal(array, whole[name], err_msg=name)


def test_two_stores_of_one_network_are_one(fits, fitted):
    halves = [replace(fits, images=part) for part in ([0, 1], [2])]
    both = fit(halves, 1, lambda: None)
    assert both.found.scores == fitted.found.scores
    assert [source.left_out for source in both.sources] == [1, 0]


def test_nothing_to_fit_on(fits):
    with pytest.raises(PipeError, match="no image is without an anomaly"):
        fit([replace(fits, images=[1])], 1, lambda: None)


@settings(max_examples=30)
@given(st.lists(st.lists(st.floats(-1e-6, 1e-6), min_size=1, max_size=5), min_size=1, max_size=6), st.randoms())
def test_moments_do_not_depend_on_order_and_keep_small_variances(parts, random):
    """The values lie around 1000: in float64, sums of squares would leave nothing of their variance."""
    values = [np.array(part) for part in parts]

    def moments(order):
        total = Moments.zero(1)
        for i in order:
            part = values[i]
            squares = np.square(part - part.mean()).sum()
            total.add_part(np.array([part.size]), np.array([1000 + part.mean()]), np.array([squares]))
        return total

    order = list(range(len(values)))
    one = moments(order)
    random.shuffle(order)
    assert (one.sums == moments(order).sums).all()
    mean, variance = (float(found[0]) for found in one.finish())
    every = np.concatenate(values)
    assert mean == pytest.approx(1000 + every.mean(), abs=1e-12)
    if every.size > 1:
        assert variance == pytest.approx(every.var(ddof=1), rel=1e-3, abs=1e-18)


def test_files_say_what_was_fitted(fitted, tmp_path):
    document, arrays = write_fitted(tmp_path / "enet.json", [fitted])
    assert (document.name, arrays.name) == ("enet.json", "enet.npz")
    (read,) = read_fitted(tmp_path / "enet")
    assert read.found.scores == fitted.found.scores
    assert read.sources == fitted.sources
    for T, means in fitted.found.posteriors.items():
        np.testing.assert_array_equal(read.found.posteriors[T], means)
    np.testing.assert_array_equal(read.largest, fitted.largest)
    assert len(read.sha256) == 64
    write_fitted(tmp_path / "other", [replace(fitted, protocol={})])
    document.write_bytes((tmp_path / "other.json").read_bytes().replace(b"other", b"enet"))
    assert read_fitted(document)[0].sha256 != read.sha256
    arrays.write_bytes(arrays.read_bytes() + b" ")
    with pytest.raises(PipeError, match="do not belong together"):
        read_fitted(document)
    arrays.unlink()
    with pytest.raises(PipeError, match="cannot be read"):
        read_fitted(document)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"format": 1}', '{"format": "logitpipe statistics", "format_version": 2}']
)
def test_what_are_no_statistics(tmp_path, text):
    (tmp_path / "x.json").write_text(text)
    (tmp_path / "x.npz").write_bytes(b"")
    with pytest.raises(PipeError, match="statistics of version 1 were expected"):
        read_fitted(tmp_path / "x")


def test_another_network_is_refused(fits, fitted):
    schema = fits.store.schema
    assert of_store([fitted], schema) is fitted
    assert identity_of(replace(schema, dataset="Other", input_size=(16, 16))) == fitted.identity
    for changed, words in (({"weights_sha256": "1" * 64}, "other weights"), ({"network": "else"}, "those of fake")):
        with pytest.raises(PipeError, match=words) as raised:
            of_store([fitted], replace(schema, **changed))
        assert raised.value.remedy == "fit"
    amp = describe(scenes_of(schema.kind)[0].values, void=schema.unknown_class, facts={"amp": "bf16"})
    assert identity_of(amp) == fitted.identity
