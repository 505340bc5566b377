"""Figures from scores that are sorted on disk are scikit-learn's, however few fit memory at a time."""

import shutil
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from conftest import refused
from reference import Pool, Scene, best_f1, figures
from scoring import random_values, score_store, write_store

from logitpipe.stages.score.figures.reading import Reading
from logitpipe.stages.score.passes import exact
from logitpipe.stages.score.passes.exact import Runs, exact_rows, figures_of, points_of
from logitpipe.stages.score.plan import make_plan
from logitpipe.stages.score.protocols import PROTOCOLS

READINGS = [Reading(rule, area) for rule, area in product(("first", "above", "linear"), ("step", "trapezoid"))]


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("memory", [10, 100, 10_000])
def test_ranges_change_no_figure(tmp_path, monkeypatch, memory, ties):
    monkeypatch.setattr(exact, "RANGE", memory)
    noise = np.random.default_rng(0)
    both, images = [Runs(tmp_path / name) for name in ("normal", "anomalous")], []
    for _ in range(5):
        labels = noise.random(200) < 0.2
        scores = noise.normal(labels, 1).astype(np.float32)
        scores = np.round(scores) if ties else scores
        for label, runs in enumerate(both):
            runs.append(scores[labels == label])
        images.append((scores, labels))
    scores, labels = map(np.concatenate, zip(*images, strict=True))
    pooled = Pool(scores, labels, 5)
    for reading in READINGS:
        found = figures_of(points_of(both), both[0].size, both[1].size, reading)
        assert found._asdict() == pytest.approx(
            {**figures(pooled, reading.fpr, reading.auprc), "best_f1": best_f1(pooled)}, abs=1e-12
        )


@pytest.mark.parametrize("P", [20, 40, 1000])
def test_ninety_five_per_cent_are_counted_in_whole_numbers(tmp_path, P):
    """Each positive has one negative behind it; where TPR is 0.95 exactly, `linear` takes the last such point."""
    both = [Runs(tmp_path / name) for name in ("normal", "anomalous")]
    for label, runs in enumerate(both):
        runs.append(np.arange(label, 2 * P, 2, dtype=np.float32))
    needed = 19 * P // 20
    expected = {"first": (needed - 1) / P, "above": needed / P, "linear": needed / P}
    for rule, fpr in expected.items():
        assert figures_of(points_of(both), P, P, Reading(rule)).fpr95 == fpr


@pytest.fixture
def store(tmp_path):
    noise = np.random.default_rng(1)
    scenes = [
        Scene(f"{i}.png", random_values(noise, "pixel", 4, (20, 30)), noise.choice(codes, (20, 30)))
        for i, codes in enumerate(np.array([[0, 0, 1, 255], [0, 0, 0, 255]], np.uint8))
    ]
    return write_store(tmp_path / "store", scenes)


@pytest.mark.parametrize("pooling", ["pixels", "images"])
def test_rows_are_those_of_a_sweep(store, pooling, monkeypatch):
    monkeypatch.setattr(exact, "RANGE", 100)
    protocol = replace(PROTOCOLS["standard"], pooling=pooling)
    plan = make_plan(store.schema, protocol, ["msp", "maxlogit"], [0.5, 1.0])
    rows, read = score_store(store, plan), []
    found = exact_rows(store, plan, range(2), rows, lambda: read.append(1))
    assert len(read) == 2 * 3  # T = 0.5, T = 1, and maxlogit, which has none
    for row, before in zip(found, rows, strict=True):
        assert row.auprc_lower == row.auprc == row.auprc_upper
        for name in ("auprc", "fpr95", "auroc", "best_f1"):
            lower, upper = getattr(before, f"{name}_lower"), getattr(before, f"{name}_upper")
            assert lower - 1e-9 <= getattr(row, name) <= upper + 1e-9


def test_too_small_a_disk_is_found_before_anything_is_written(store, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: shutil._ntuple_diskusage(100, 90, 10))
    monkeypatch.setattr("tempfile.tempdir", "/scratch")
    plan = make_plan(store.schema, PROTOCOLS["standard"], ["msp", "entropy"], [1.0])
    rows = score_store(store, plan)
    with refused(
        f"/scratch: {8 * rows[0].pixels} bytes are needed for the scores of 2 pairs, and 10 are free; name a folder "
        "with more room in the variable TMPDIR, or leave --exact out: --resolve all leaves no digit open either"
    ):
        exact_rows(store, plan, range(2), rows, lambda: None)
