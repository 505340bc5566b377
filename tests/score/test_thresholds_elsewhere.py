"""Thresholds of one data set on another: counted as scikit-learn counts them, pixel by pixel."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from conftest import fails
from scoring import made_scenes, write_store
from sklearn.metrics import f1_score, jaccard_score

import logitpipe as lp
from logitpipe.cache import Store
from logitpipe.cli import cli
from logitpipe.stages.score.kernels.counting.bins import ANOMALY, IGNORED
from logitpipe.stages.score.labels.ground_truth import GroundTruth
from logitpipe.stages.score.passes.sweep import sweep
from logitpipe.stages.score.passes.transfer import TransferRow, transfer_rows
from logitpipe.stages.score.picture import read_picture
from logitpipe.stages.score.plan import Plan, make_plan
from logitpipe.stages.score.protocols import PROTOCOLS

CASES = {"pixel": (["msp", "maxlogit"], "standard"), "mask": (["msp", "entropy", "rba"], "legacy")}


@pytest.fixture(scope="module", params=CASES)
def stores(request, tmp_path_factory) -> tuple[list[Store], list[str], str]:
    """Stores of one network over two data sets."""
    folder, changes = tmp_path_factory.mktemp(request.param), (lambda z: z, lambda z: 0.6 * z + 0.4)
    found = [
        write_store(folder / name, made_scenes(request.param, change), 5 if request.param == "pixel" else None, name)
        for name, change in zip(("Near", "Far"), changes, strict=True)
    ]
    return found, *CASES[request.param]


def pooled(store: Store, plan: Plan, pair: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores of all pixels that count in the unit that they are pooled in, and which are anomalous."""
    truth, scores, labels = GroundTruth(store, plan.protocol, range(3)), [], []
    for image in range(3):
        picture = read_picture(store, truth, image)
        ((_, ranks),) = picture.score_maps(plan, [pair])
        unit = plan.pools_scores(plan.pairs[pair].method)
        counted = picture.labels != IGNORED
        scores.append((ranks if unit else plan.formula(plan.pairs[pair], ranks))[counted])
        labels.append(picture.labels[counted] == ANOMALY)
    return np.concatenate(scores), np.concatenate(labels)


def test_figures_are_those_of_every_pixel(stores):
    found, methods, protocol = stores
    plans = [make_plan(store.schema, PROTOCOLS[protocol], methods, [1.0]) for store in found]
    runs = list(zip(found, plans, strict=True))
    swept = [
        [each.row for each in sweep(store, plan, range(3), 1, lambda: None, resolve="all")] for store, plan in runs
    ]
    for at, (store, plan) in enumerate(runs):
        moved = transfer_rows(store, plan, range(3), swept[at], swept, 1, lambda: None)
        assert len(moved) == len(methods) * 2 * 2
        for row in moved:
            assert isinstance(row, TransferRow)
            pair = [each.method for each in plan.pairs].index(row.method)
            scores, is_anomaly = pooled(store, plan, pair)
            reached = scores >= row.threshold
            assert row.f1 == pytest.approx(f1_score(is_anomaly, reached), abs=1e-12)
            assert row.iou == pytest.approx(jaccard_score(is_anomaly, reached), abs=1e-12)
            assert (row.tpr, row.fpr) == pytest.approx((reached[is_anomaly].mean(), reached[~is_anomaly].mean()))
            if row.chosen_on_store == row.store:  # at its own threshold a store has the figures of its sweep
                own, above = swept[at][pair], scores > row.threshold
                if row.rule == "best-f1":
                    assert row.f1 == own.best_f1
                else:
                    assert above[is_anomaly].mean() < 0.95 <= row.tpr
                    assert protocol == "legacy" or row.fpr == own.fpr95  # legacy interpolates


def test_tables_files_and_python(stores, tmp_path):
    """A line for each method and data set that chose, in a table for each rule; the same in files and as a frame."""
    found, methods, protocol = stores
    places, out = [str(store.path) for store in found], tmp_path / "out"
    words = ["score", *places, "--methods", ",".join(methods), "--protocol", protocol, "--also", "transfer"]
    result = CliRunner().invoke(cli, [*words, "--out", str(out)])
    assert result.exit_code == 0, result.stderr
    lines = [line for line in result.stdout.splitlines() if line.startswith("fake")]
    records = json.loads((out / "transfer.json").read_text())["transfer"]
    assert len(records) == 2 * len(lines) == 2 * len(methods) * 2 * 2
    assert {(each["chosen_on"], each["dataset"]) for each in records} == {
        (a, b) for a in ("Near", "Far") for b in ("Near", "Far")
    }
    loaded = lp.load_results(out)
    assert loaded.transfer["f1"].tolist() == [each["f1"] for each in records]
    table = CliRunner().invoke(cli, ["table", str(out), "--decimals", "3"])
    assert table.exit_code == 0, table.stderr
    assert [line for line in table.stdout.splitlines() if line.startswith("fake") and "ar " in line] == lines


def test_one_data_set_has_no_other(stores):
    found, methods, _ = stores
    result = CliRunner().invoke(cli, ["score", str(found[0].path), "--methods", methods[0], "--also", "transfer"])
    fails(result, "pipe: --also: transfer needs stores of one network over two data sets or more", 2)
