"""Each protocol against the same protocol in float64, all pixels in memory, figures by scikit-learn."""

from dataclasses import fields, replace

import numpy as np
import pytest
from conftest import refused
from reference import RULES, Scene, best_f1, figures, iou, pool
from scoring import random_values, score_store, write_store

from logitpipe.cache import PipeError
from logitpipe.stages.score.labels.codes import LabelCodes
from logitpipe.stages.score.methods import METHOD_NAMES, METHODS
from logitpipe.stages.score.plan import make_plan
from logitpipe.stages.score.protocols import PROTOCOLS, Protocol, with_choices

TEMPERATURES = (0.5, 1.0, 2.0)
NAMES = ("1.jpg", "2.jpg", "3.jpg", "10.jpg", "11.jpg")
"""In the order of a store, numbers by value; that of paths is 1, 10, 11, 2, 3."""
VOID = 3
THIN = 5000
BIN_EDGE = 2e-5
"""How far figures may lie outside what the bins allow: a pixel beside an edge can be rounded across it."""


def scenes_of(kind: str) -> list[Scene]:
    """Images of odd sizes: when they are resized, no centre lies between two pixels.

    In 10.jpg there is no anomaly, in 2.jpg only where void counts as one.
    """
    noise = np.random.default_rng(0)
    codes_of = {"10.jpg": [0, 255], "2.jpg": [0, 0, 255]}
    scenes = []
    for i, name in enumerate(NAMES):
        codes = noise.choice(np.array(codes_of.get(name, [0, 0, 0, 1, 2, 255]), np.uint8), (31 + 2 * i, 53 - 2 * i))
        values = random_values(noise, kind, 6, (20, 32), K=5)
        scenes.append(Scene(name, values, codes))
    return scenes


@pytest.fixture(
    scope="module", params=[(kind, data) for kind in METHODS for data in ("Tiny", "fs_static")], ids="-".join
)
def known(request, tmp_path_factory):
    """A store and the scenes that are in it."""
    kind, dataset = request.param
    scenes, void = scenes_of(kind), VOID if kind == "pixel" else None
    return write_store(tmp_path_factory.mktemp(kind) / "store", scenes, void, dataset), scenes


def assert_agrees(row, expected: dict[str, float]) -> None:
    """Figures by scikit-learn lie in the certified interval, and ours beside them.

    A bin holds only a few of these pixels: its order moves FPR by a few of them and AUROC by a few pairs.
    """
    P, N = row.positives, row.pixels - row.positives
    assert row.auprc_lower - BIN_EDGE <= expected["auprc"] <= row.auprc_upper + BIN_EDGE
    assert row.auprc == pytest.approx(expected["auprc"], abs=BIN_EDGE + row.auprc_upper - row.auprc_lower)
    assert row.auprc_upper - row.auprc_lower < 2e-3
    for name in ("auroc", "fpr95"):
        lower, upper = getattr(row, f"{name}_lower"), getattr(row, f"{name}_upper")
        assert lower - BIN_EDGE - 4 / N <= expected[name] <= upper + BIN_EDGE + 4 / N
    assert row.auroc == pytest.approx(expected["auroc"], abs=1e-5 + 10 / (P * N))
    assert row.fpr95 == pytest.approx(expected["fpr95"], abs=4 / N)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_every_method_at_every_temperature(known, name):
    store, scenes = known
    rows = score_store(store, make_plan(store.schema, PROTOCOLS[name], None, TEMPERATURES))
    core = [name for name, method in METHODS[store.schema.kind].items() if method.core]
    assert len(rows) == 3 * (len(core) - 1) + 1
    for row in rows:
        pooled = pool(
            scenes, store.schema.dataset, RULES[name], row.method, row.temperature or 1.0, store.schema.void_class
        )
        assert (row.images, row.pixels, row.positives) == (
            pooled.images,
            len(pooled.scores),
            pooled.anomalous.sum(),
        )
        assert_agrees(row, figures(pooled, RULES[name].fpr))


def test_a_data_set_is_known_under_the_name_of_the_folder_of_its_archive(tmp_path):
    positives = {}
    for name in ("fs_static", "FS_Static", "Tiny"):
        store = write_store(tmp_path / name, scenes_of("pixel"), VOID, name)
        (row,) = score_store(store, make_plan(store.schema, PROTOCOLS["legacy"], ["entropy"], [1.0]))
        positives[name] = row.positives
    assert positives["fs_static"] == positives["FS_Static"] > positives["Tiny"]


def test_the_protocols_count_other_pixels(known):
    """The choices that tell the protocols apart are all at work in these stores."""
    store, _ = known
    counted = {}
    for name, protocol in PROTOCOLS.items():
        row = score_store(store, make_plan(store.schema, protocol, ["entropy"], [1.0]))[0]
        counted[name] = row.images, row.pixels, row.positives, row.auprc
    assert [counted[name][0] for name in PROTOCOLS] == [5, 3, 5 if store.schema.dataset == "fs_static" else 3]
    assert len(set(counted.values())) == 3


@pytest.mark.parametrize("skips", [False, True])
def test_every_tenth_pixel_in_the_order_of_paths(known, skips):
    store, scenes = known
    protocol = replace(PROTOCOLS["standard"], thin_above=THIN, skip_without_anomaly=skips)
    rules = replace(RULES["standard"], thin_above=THIN, skips=skips)
    for row in score_store(store, make_plan(store.schema, protocol, ["msp", "maxlogit"], [1.0])):
        pooled = pool(scenes, store.schema.dataset, rules, row.method, 1.0, store.schema.void_class)
        assert row.pixels < 1000 if store.schema.kind == "mask" else row.pixels > 3000
        assert (row.pixels, row.positives) == (len(pooled.scores), pooled.anomalous.sum())
        assert_agrees(row, figures(pooled, "first"))


@pytest.mark.parametrize("spare", [0, 1])
def test_thinning_begins_above_the_limit(known, spare):
    store, scenes = known
    if store.schema.kind == "mask":
        limit = sum(scene.codes.size for scene in scenes) - spare
        protocol = replace(PROTOCOLS["standard"], thin_above=limit)
        (row,) = score_store(store, make_plan(store.schema, protocol, ["void"], [1.0]))
        assert (row.pixels < 1000) == bool(spare)


def test_best_f1_and_iou_are_those_of_the_pixels(known):
    store, scenes = known
    thresholds = (-3.0, -1.0, 0.1, 0.5, 0.9)
    plan = make_plan(store.schema, PROTOCOLS["legacy"], None, [1.0], thresholds)
    for row in score_store(store, plan):
        facts = store.schema.dataset, row.method, row.temperature or 1.0, store.schema.void_class
        pooled = pool(scenes, facts[0], RULES["legacy"], *facts[1:])
        assert row.best_f1 == pytest.approx(best_f1(pooled), abs=3 / row.positives)
        for entry, threshold in zip(row.iou, thresholds, strict=True):  # in the unit that is pooled
            expected = {"threshold": threshold, **iou(pooled, threshold)}
            assert entry == pytest.approx(expected, abs=1e-12), row.method


def test_float32_ties_are_those_of_one_minus_p(known):
    """At a low temperature most scores of `msp` are 0 in float32, and a threshold is in the unit of the score."""
    store, scenes = known
    thresholds, rules = (0.0, 1e-6, 0.5), replace(RULES["standard"], float32_ties=True)
    plan = make_plan(
        store.schema, replace(PROTOCOLS["standard"], ties="float32"), ["msp", "entropy"], [0.1], thresholds
    )
    for row in score_store(store, plan):
        pooled = pool(scenes, store.schema.dataset, rules, row.method, 0.1, store.schema.void_class)
        assert_agrees(row, figures(pooled, "first"))
        if row.method == "msp":
            is_pixel = store.schema.kind == "pixel"
            assert ((pooled.scores == 0).mean() > 0.1) == is_pixel  # the ties are there
            assert row.iou[0] == pytest.approx({"threshold": 0.0, **iou(pooled, 0.0)}, abs=1e-12)
            assert row.iou[2] == pytest.approx({"threshold": 0.5, **iou(pooled, 0.5)}, abs=2e-3)


def test_trapezoids_under_the_curve(known):
    store, scenes = known
    plan = make_plan(store.schema, replace(PROTOCOLS["standard"], auprc="trapezoid"), ["msp", "maxlogit"], [1.0])
    step = score_store(store, make_plan(store.schema, PROTOCOLS["standard"], ["msp", "maxlogit"], [1.0]))
    for row, other in zip(score_store(store, plan), step, strict=True):
        pooled = pool(scenes, store.schema.dataset, RULES["standard"], row.method, 1.0, store.schema.void_class)
        assert_agrees(row, figures(pooled, "first", "trapezoid"))
        assert row.auprc != other.auprc and row.fpr95 == other.fpr95


@pytest.mark.parametrize("area", ["step", "trapezoid"])
def test_means_over_images_leave_out_those_without_both_classes(known, area):
    store, scenes = known
    protocol = replace(PROTOCOLS["standard"], pooling="images", auprc=area, fpr="linear")
    thresholds = (-3.0, 0.2)
    plan = make_plan(store.schema, protocol, ["msp", "maxlogit"], [1.0], thresholds)
    with_both = [scene for scene in scenes if {0, 1} <= set(scene.codes.flat)]
    assert 0 < len(with_both) < len(scenes)
    for row in score_store(store, plan, workers=2):
        facts = store.schema.dataset, RULES["standard"], row.method, 1.0, store.schema.void_class
        single = [pool([scene], *facts) for scene in with_both]
        assert (row.images, row.pixels) == (len(single), sum(each.scores.size for each in single))
        for name in ("auprc", "fpr95", "auroc"):
            mean = np.mean([figures(each, "linear", area)[name] for each in single])
            lower, upper, found = (getattr(row, f"{name}{end}") for end in ("_lower", "_upper", ""))
            assert lower == found == upper == pytest.approx(mean, abs=2e-5)
        assert row.best_f1 == pytest.approx(np.mean([best_f1(each) for each in single]), abs=1e-5)
        assert row.best_f1_threshold is None
        for entry, threshold in zip(row.iou, thresholds, strict=True):
            means = np.mean(
                [[iou(each, threshold)[name] for name in entry if name != "threshold"] for each in single], axis=0
            )
            assert [entry[name] for name in entry if name != "threshold"] == pytest.approx(list(means), abs=1e-4)


@pytest.mark.parametrize(("drops", "epsilon"), [(True, 0.0), (False, 0.3), (True, 0.3)])
def test_scripts_drop_the_last_class_and_divide_by_more_than_the_sum(known, drops, epsilon):
    store, scenes = known
    if store.schema.kind == "mask":
        for base in ("standard", "legacy"):
            plan = make_plan(
                store.schema,
                replace(PROTOCOLS[base], drop_last_class=drops, sum_epsilon=epsilon),
                ["msp", "entropy"],
                [0.5],
            )
            kept = score_store(store, make_plan(store.schema, PROTOCOLS[base], ["msp", "entropy"], [0.5]))
            for row, other in zip(score_store(store, plan), kept, strict=True):
                rules = replace(RULES[base], drops_last=drops, epsilon=epsilon)
                pooled = pool(scenes, store.schema.dataset, rules, row.method, row.temperature)
                assert_agrees(row, figures(pooled, rules.fpr))
                assert row.auprc != pytest.approx(other.auprc, abs=1e-4)


def test_min_max_is_over_each_image(known):
    """Also where temperature is so low that most pixels lie close to the least score of their image."""
    store, scenes = known
    for T in (0.2, 0.5, 10.0):
        (row,) = score_store(store, make_plan(store.schema, PROTOCOLS["legacy"], ["entropy"], [T]))
        pooled = pool(scenes, store.schema.dataset, RULES["legacy"], "entropy", T, store.schema.void_class)
        assert_agrees(row, figures(pooled, "linear"))


@pytest.mark.parametrize(
    ("name", "codes", "message"),
    [
        ("standard", [0, 1, 7], r"7 \((\d+) pixels\)"),
        ("legacy", [0, 1, 3, 254], r"3 \(\d+ pixels\), 254 \(\d+ pixels\)"),
    ],
)
@pytest.mark.parametrize("kind", METHODS)
def test_an_unknown_code_ends_the_run(tmp_path, kind, name, codes, message):
    scenes = scenes_of(kind)
    scenes[2] = replace(scenes[2], codes=np.random.default_rng(0).choice(np.array(codes, np.uint8), (30, 40)))
    store = write_store(tmp_path / "store", scenes)
    with pytest.raises(PipeError, match=f"image '3.jpg': its mask holds codes that .*: {message}"):
        score_store(store, make_plan(store.schema, PROTOCOLS[name], ["msp"], [1.0]))
    (row,) = score_store(
        store,
        make_plan(
            store.schema,
            with_choices(PROTOCOLS[name], {"label-codes": "normal=0+7,anomaly=1-3,void=254-255"}),
            ["msp"],
            [1.0],
        ),
    )
    assert row.images == (5 if name == "standard" else 3)


def test_min_max_of_one_single_score_is_zero(tmp_path):
    values = {"logits": np.zeros((3, 4, 5), np.float32)}
    store = write_store(tmp_path / "store", [Scene("0.png", values, np.tile(np.uint8([0, 1, 1, 0, 255]), (4, 1)))])
    for row in score_store(store, make_plan(store.schema, PROTOCOLS["legacy"], None, [1.0])):
        assert (row.auroc, row.fpr95) == (0.5, 0.95)
        assert row.auprc_lower <= 0.5 <= row.auprc_upper


def test_the_protocols_are_the_table():
    """Field by field against the reference's own copy of the table."""
    for name, rules in RULES.items():
        protocol = PROTOCOLS[name]
        assert protocol.name == name
        assert protocol.void_as_anomaly_on == set(rules.void_is_anomaly_on)
        assert protocol.skip_without_anomaly == rules.skips
        assert (protocol.pixel_size == "network") == rules.network_size
        assert (protocol.void_channel, protocol.normalise_first) == (rules.void_channel, rules.normalise_first)
        assert (protocol.min_max, protocol.reading) == (set(rules.min_max), (rules.fpr, rules.auprc, rules.pooling))
        assert (protocol.ties == "float32", protocol.drop_last_class) == (rules.float32_ties, rules.drops_last)
        assert protocol.sum_epsilon == rules.epsilon
        assert (protocol.thin_above or np.inf) == rules.thin_above


CHOICES = {
    "label-codes": ("normal=0,anomaly=13", LabelCodes(frozenset({0}), frozenset({13}), frozenset())),
    "void-as-anomaly-on": ("Tiny,fs_static", frozenset({"Tiny", "fs_static"})),
    "skip-without-anomaly": ("yes", True),
    "pixel-size": ("network", "network"),
    "sigmoid-at": ("masks", "masks"),
    "void-channel": ("yes", True),
    "normalise-first": ("yes", True),
    "min-max": ("entropy,maxlogit", frozenset({"entropy", "maxlogit"})),
    "thin-above": ("1000", 1000),
    "sum-epsilon": ("1e-6", 1e-6),
    "drop-last-class": ("yes", True),
    "ties": ("float32", "float32"),
    "fpr": ("linear", "linear"),
    "auprc": ("trapezoid", "trapezoid"),
    "pooling": ("images", "images"),
}


@pytest.mark.parametrize("name", CHOICES)
def test_a_choice_changes_its_field_alone(name):
    text, value = CHOICES[name]
    key = name.replace("-", "_")
    standard = PROTOCOLS["standard"]
    chosen = with_choices(standard, {name: text})
    assert chosen == replace(standard, **{key: value}, name=f"standard+{name}={text}") != standard
    assert with_choices(standard, {key: text}) == replace(chosen, name=f"standard+{key}={text}")


def test_every_field_can_be_chosen():
    assert {name.replace("-", "_") for name in CHOICES} == {f.name for f in fields(Protocol)} - {"name"}


def test_none_empties_a_choice():
    chosen = with_choices(
        PROTOCOLS["legacy"], {"min-max": "none", "thin-above": "none", "void-as-anomaly-on": "none"}
    )
    assert (chosen.min_max, chosen.thin_above, chosen.void_as_anomaly_on) == (frozenset(), None, frozenset())


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("void-channel", "maybe", "--set void_channel: yes or no is expected, found 'maybe'"),
        ("pixel-size", "image", "--set pixel_size: mask or network is expected, found 'image'"),
        ("fpr", "last", "--set fpr: first or linear or above is expected, found 'last'"),
        ("thin-above", "-1", "--set thin_above: a number of pixels or `none` is expected, found '-1'"),
        ("sum-epsilon", "few", "--set sum_epsilon: a number from 0 to 1 is expected, found 'few'"),
        (
            "name",
            "mine",
            "--set name: no such field of a protocol; there are auprc, drop-last-class, fpr, label-codes, "
            "min-max, normalise-first, pixel-size, pooling, sigmoid-at, skip-without-anomaly, sum-epsilon, "
            "thin-above, ties, void-as-anomaly-on, void-channel",
        ),
        (
            "min-max",
            "entropy,mps",
            f"--set min_max: 'mps' is no method; there are {', '.join(METHOD_NAMES)}",
        ),
    ],
)
def test_a_choice_that_does_not_exist_is_refused(name, text, message):
    with refused(message):
        with_choices(PROTOCOLS["standard"], {name: text})
