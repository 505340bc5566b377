"""`pipe score` from the outside: what it prints, what it writes, and how it refuses."""

import csv
import json
import os
import platform
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas
import pytest
import xarray
from click.testing import CliRunner, Result
from conftest import content, fails
from stores import fill, make_schema

from logitpipe.cli import cli
from logitpipe.runs.temperatures import sweep
from logitpipe.stages.score.methods import MASK_METHODS, METHOD_NAMES, PIXEL_METHODS


def score(*words: object) -> Result:
    return CliRunner().invoke(cli, ["score", *map(str, words)])


def results(*words: object) -> list[dict]:
    result = score(*words, "--json")
    assert result.exit_code == 0, result.stderr
    document = json.loads(result.stdout)
    assert document["schema_version"] == 2
    return document["results"]


def test_json_has_every_method_at_every_temperature(pixel_store, mask_store):
    rows = results(pixel_store, mask_store, "--temperatures", "0.5,1,2")
    found = {(row["kind"], row["method"], row["temperature"]) for row in rows}
    expected = {
        (kind, name, T)
        for kind, methods in (("pixel", PIXEL_METHODS), ("mask", MASK_METHODS))
        for name, method in methods.items()
        if method.core
        for T in ([0.5, 1, 2] if method.temperature else [None])
    }
    assert found == expected
    assert len(rows) == len(expected)
    for row in rows:
        assert row["auprc_lower"] <= row["auprc"] <= row["auprc_upper"]
        assert 0 <= row["fpr95"] <= 1
        assert row["iou"] == []


def test_exact_figures_leave_nothing_open(pixel_store, mask_store):
    for row in results(pixel_store, mask_store, "--temperatures", "0.7", "--exact"):
        assert row["auprc_lower"] == row["auprc"] == row["auprc_upper"]


def test_the_table_puts_networks_side_by_side(pixel_store, mask_store):
    lines = score(pixel_store, mask_store).stdout.splitlines()
    assert lines[0].startswith("Tiny, protocol standard, per cent (3 images, ")
    figures = "{0} AuPRC  {0} FPR95  {0} AUROC"
    assert (
        re.sub(" {2,}", "  ", lines[2]).rstrip() == f"method  T  {figures.format('enet')}  {figures.format('eomt')}"
    )
    assert [len(line.split()) for line in lines if line.startswith(("msp ", "rba "))] == [8, 5]


def test_two_stores_of_one_network_are_told_apart(pixel_store, tmp_path):
    other = fill(tmp_path / "other.zarr", make_schema("pixel"))
    header = score(pixel_store, other, "--methods", "msp").stdout.splitlines()[2]
    assert "enet (pixel) AuPRC" in header
    assert "enet (other) AuPRC" in header


def test_thresholds_are_in_the_unit_of_the_formula(pixel_store):
    for row in results(pixel_store, "--methods", "msp,entropy", "--threshold", "-1", "--threshold", "99"):
        every, none = row["iou"]
        share = row["positives"] / row["pixels"]
        assert every == pytest.approx({"threshold": -1, "normal": 0, "anomaly": share, "mean": share / 2})
        assert none == pytest.approx({"threshold": 99, "normal": 1 - share, "anomaly": 0, "mean": (1 - share) / 2})


def test_files_agree_with_what_is_printed(pixel_store, mask_store, tmp_path):
    words = (pixel_store, mask_store, "--temperatures", "0.5,1", "--threshold", "0.5", "--out", tmp_path / "out")
    rows = results(*words)
    assert json.loads((tmp_path / "out/results.json").read_text())["results"] == rows
    with (tmp_path / "out/results.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert [float(line["auprc"]) for line in lines] == [row["auprc"] for row in rows]
    assert [float(line["iou_0_mean"]) for line in lines] == [row["iou"][0]["mean"] for row in rows]
    text = (tmp_path / "out/results.md").read_text()
    assert all(f"{100 * row['auprc']:.3f}" in text for row in rows if row["temperature"] in (None, 1))
    settings = json.loads((tmp_path / "out/settings.json").read_text())["settings"]
    assert settings["temperatures"] == {"value": [0.5, 1.0], "from": "flag"}


def test_results_open_in_xarray(pixel_store, mask_store, tmp_path):
    words = ("--temperatures", "0.5,1", "--threshold", "0.5", "--out", tmp_path / "out")
    rows = results(pixel_store, mask_store, *words)
    # Loaded: where dask is installed, an opened one is lazy, and xarray indexes nothing lazy by a condition.
    with xarray.load_dataset(tmp_path / "out/results.zarr", engine="zarr") as dataset:
        assert dict(dataset.sizes) == {"row": len(rows)}
        frame = dataset.to_dataframe()
        for method in ("msp", "maxlogit"):
            expected = [row["auprc"] for row in rows if row["method"] == method]
            assert dataset.auprc[dataset.method == method].values.tolist() == expected
    for name in ("auprc", "fpr95", "images", "pixels", "positives", "kind", "parameters", "map_temperature"):
        default = 1 if name == "map_temperature" else None
        assert frame[name].tolist() == [default if row[name] is None else row[name] for row in rows]
    assert frame["iou_0_mean"].tolist() == [row["iou"][0]["mean"] for row in rows]


def test_no_method_is_lost_where_results_are_grouped_by_temperature(pixel_store, tmp_path):
    rows = results(pixel_store, "--temperatures", "0.5,1", "--out", tmp_path / "out")
    frame = pandas.read_csv(tmp_path / "out/results.csv")
    assert frame.groupby(["method", "temperature"])["auprc"].count().sum() == len(rows)
    table = frame.pivot_table(index="method", columns="temperature", values="auprc")
    assert table.loc["maxlogit", 1] == next(row["auprc"] for row in rows if row["method"] == "maxlogit")


def test_letters_reach_a_spreadsheet(tmp_path):
    """A mark at the beginning says that a file is UTF-8; one of ASCII needs none."""
    for name, mark in (("Stra\u00dfe", b"\xef\xbb\xbf"), ("Tiny", b"")):
        store = fill(tmp_path / f"{name}.zarr", replace(make_schema("pixel"), dataset=name))
        score(store, "--methods", "msp", "--out", tmp_path / name)
        assert (tmp_path / name / "results.csv").read_bytes().startswith(mark + b"store,")
        assert pandas.read_csv(tmp_path / name / "results.csv")["dataset"].tolist() == [name]


def test_results_are_replaced_on_request_alone(pixel_store, tmp_path):
    out = tmp_path / "out"
    results(pixel_store, "--methods", "msp", "--out", out)
    before = content(out)
    line = f"pipe: {out}/results.json is there already; name another place with --out, or replace it with --overwrite"
    fails(score(pixel_store, "--methods", "entropy", "--out", out), line)
    assert content(out) == before
    results(pixel_store, "--methods", "entropy", "--out", out, "--overwrite")
    with xarray.open_zarr(out / "results.zarr") as dataset:
        assert dataset["method"].values.tolist() == ["entropy"]
    assert {p.name for p in out.iterdir()} == {
        "per_image.zarr", "results.csv", "results.json", "results.md", "results.zarr", "settings.json",
    }  # fmt: skip


def test_results_that_cannot_be_written_are_shown(pixel_store, tmp_path, monkeypatch):
    expected = score(pixel_store, "--methods", "msp").stdout
    full = OSError(28, "No space left on device")
    monkeypatch.setattr("logitpipe.results.writing.write_arrays", lambda *_: (_ for _ in ()).throw(full))
    result = score(pixel_store, "--methods", "msp", "--out", tmp_path / "out")
    assert (result.exit_code, result.stdout) == (1, expected)
    message = f"pipe: --out {tmp_path}/out: the results cannot be written (No space left on device)"
    assert result.stderr.splitlines()[-1] == message


def test_an_incomplete_store_is_refused_and_scored_on_request(tmp_path):
    store = fill(tmp_path / "s.zarr", make_schema("pixel"), images=[0, 2])
    fails(
        score(store),
        f"pipe: {store}: 1 of 3 images are missing (b.png); run the same `pipe infer` again to finish it, "
        "or take what is there with --allow-incomplete",
        code=3,
    )
    result = score(store, "--allow-incomplete", "--json")
    assert result.exit_code == 3
    assert json.loads(result.stdout)["results"][0]["images"] == 2
    assert result.stderr.splitlines()[-1] == "pipe: 1 images were missing; the figures are those of the others"


@pytest.mark.parametrize("code", [0, 1])
def test_figures_that_do_not_exist_are_null(tmp_path, code):
    store = fill(tmp_path / "s.zarr", make_schema("pixel"), codes=[code])
    for row in results(store, "--threshold", "0.5"):
        figures = ("auprc", "auprc_lower", "auprc_upper", "fpr95", "auroc", "best_f1", "best_f1_threshold")
        assert {row[name] for name in figures} == {None}
        assert row["positives"] == (row["pixels"] if code else 0)
    assert " none" in score(store).stdout


@pytest.mark.parametrize("kind", ["pixel", "mask"])
def test_a_store_of_void_alone_has_no_figures(tmp_path, kind):
    store = fill(tmp_path / "s.zarr", make_schema(kind), codes=[255])
    (row,) = results(store, "--methods", "msp", "--threshold", "0.5")
    assert row["auprc"] is None
    assert row["pixels"] == 0
    assert row["iou"] == [{"threshold": 0.5, "normal": None, "anomaly": None, "mean": None}]


def test_course_without_any_anomaly_scores_no_image(tmp_path):
    store = fill(tmp_path / "s.zarr", make_schema("pixel"), codes=[0])
    (row,) = results(store, "--methods", "msp", "--protocol", "course", "--exact")
    assert (row["images"], row["pixels"], row["auprc"]) == (0, 0, None)


def test_an_unknown_code_is_named_with_image_and_count(tmp_path):
    store = fill(tmp_path / "s.zarr", make_schema("pixel"), codes=[0, 1, 7])
    labels = [np.random.default_rng(i).choice(np.array([0, 1, 7], np.uint8), (12, 16)) for i in range(3)]
    fails(
        score(store),
        f"pipe: {store}: image 'a.png': its mask holds codes that the protocol does not know: "
        f"7 ({(labels[0] == 7).sum()} pixels); say what they mean with --label-codes normal=...,anomaly=...,void=...",
    )
    assert results(store, "--label-codes", "normal=0,anomaly=1,void=7")[0]["pixels"] < 3 * 12 * 16


def test_each_data_set_may_have_codes_of_its_own(tmp_path):
    schema = make_schema("pixel")
    found, hazards = replace(schema, dataset="LostAndFound"), replace(schema, dataset="StreetHazards")
    stores = [
        fill(tmp_path / "found.zarr", found, codes=(0, 1, 2, 30)),
        fill(tmp_path / "hazards.zarr", hazards, codes=(1, 7, 13, 14)),
    ]
    of_found, of_hazards = "normal=1,anomaly=2-200,void=0+255", "normal=1-13,anomaly=14"
    alone = [
        results(store, "--label-codes", codes) for store, codes in zip(stores, (of_found, of_hazards), strict=True)
    ]
    # The codes of one data set would pass for those of the other: all of them are known there, too.
    wrong = results(*stores, "--label-codes", of_found)
    for flags in (
        ("--label-codes", f"LostAndFound:{of_found}", "--label-codes", f"StreetHazards:{of_hazards}"),
        ("--label-codes", of_found, "--label-codes", f"StreetHazards:{of_hazards}"),
        ("--set", f"label-codes={of_found}", "--label-codes", f"StreetHazards:{of_hazards}"),
    ):
        together = results(*stores, *flags)
        figures = [(row["auprc"], row["pixels"]) for row in together]
        assert figures == [(row["auprc"], row["pixels"]) for rows in alone for row in rows]
        assert figures != [(row["auprc"], row["pixels"]) for row in wrong]
    assert score(*stores, *flags, "--out", tmp_path / "results").exit_code == 0
    told = json.loads((tmp_path / "results" / "settings.json").read_text())["run"]["stores"]
    assert [store["label_codes"] for store in told] == [of_found, of_hazards]
    assert [store["dataset_sha256"] for store in told] == [None, None]  # these stores are made of noise
    line = "pipe: --label-codes: no store is of the data set 'x'; there are LostAndFound, StreetHazards"
    fails(score(*stores, "--label-codes", "x:normal=0,anomaly=1"), line, 2)


def test_results_hold_curves_and_distributions_of_every_pair(pixel_store, mask_store, tmp_path):
    rows = results(pixel_store, mask_store, "--temperatures", "0.5,1", "--out", tmp_path / "out")
    with xarray.open_zarr(tmp_path / "out/results.zarr", group="curves") as dataset:
        assert dataset["recall"].dims == ("row", "point")
        assert dataset["edges"].sizes["edge"] == dataset["normal"].sizes["bin"] + 1
        for i, row in enumerate(rows):
            found = dataset.isel(row=i)
            area = np.trapezoid(found["recall"], found["fpr"])
            assert area == pytest.approx(row["auroc"], abs=1 / 256)
            assert found["normal"].sum() == pytest.approx(1) and found["anomaly"].sum() == pytest.approx(1)


def test_single_choices_of_a_protocol_can_be_set(pixel_store):
    (row,) = results(pixel_store, "--methods", "msp", "--set", "fpr=linear", "--set", "pixel-size=network")
    assert row["protocol"] == "standard+fpr=linear+pixel-size=network"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--methods", "mps"), f"pipe: --methods: 'mps' is no method; there are {', '.join(METHOD_NAMES)}"),
        (("--methods", "msp,rba"), "pipe: --methods: 'rba' cannot be computed from these pixel stores; leave it out"),
        (("--set", "fpr=best"), "pipe: --set fpr: first or linear or above is expected, found 'best'"),
        (("--label-codes", "normal=0"), "pipe: --label-codes: both `normal` and `anomaly` need a code"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_said_in_one_line(pixel_store, flags, message):
    fails(score(pixel_store, *flags), message, code=2)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--temperatures", "0"), "a temperature is a number from 0.001 to 1000, and 0 is not"),
        (("--temperatures", "-1"), "a temperature is a number from 0.001 to 1000, and -1 is not"),
        (("--temperatures", "1,nan"), "a temperature is a number from 0.001 to 1000, and nan is not"),
        (("--temperatures", "x"), "expected 0.5,1,2 or START:STOP:STEP, and found 'x'"),
        (("--temperatures", "2:1:0.1"), "a sweep rises from START to STOP by a STEP above 0; found 2, 1, 0.1"),
        (("--threshold", "nan"), "NaN is no threshold"),
        (("--set", "fpr"), "expected FIELD=VALUE, and found 'fpr'"),
    ],
)
def test_wrong_usage_names_the_flag(pixel_store, flags, message):
    result = score(pixel_store, *flags)
    assert result.exit_code == 2
    last = result.stderr.splitlines()[-1]
    assert last == f"pipe: Invalid value for {flags[0]!r}: {message}"


def test_blanks_after_commas_mean_nothing(pixel_store):
    spaced = score(pixel_store, "--methods", "msp, entropy ", "--temperatures", "0.5, 1", "--json")
    assert spaced.exit_code == 0, spaced.stderr
    assert spaced.stdout == score(pixel_store, "--methods", "msp,entropy", "--temperatures", "0.5,1", "--json").stdout


def test_ranges_of_temperatures_include_their_end():
    assert sweep(0.1, 0.3, 0.1) == (0.1, 0.2, 0.3)
    assert sweep(0.5, 2, 0.4) == (0.5, 0.9, 1.3, 1.7)
    assert sweep(1, 1, 1) == (1.0,)


def test_what_is_no_store_is_refused(tmp_path):
    message = "expected a logit store, but there is no zarr.json; `pipe infer` makes one"
    fails(score(tmp_path), f"pipe: {tmp_path}: {message}")
    assert score().exit_code == 2


def test_results_do_not_go_into_a_store(pixel_store):
    message = f"pipe: --out {pixel_store}: a store lies there; name another folder for the results"
    fails(score(pixel_store, "--out", pixel_store), message)


def test_a_map_that_says_nothing_has_the_figures_of_one_tie(pixel_store):
    flat = fill(pixel_store.with_name("flat.zarr"), make_schema("pixel"), scale=0.0)
    (row,) = results(flat, "--methods", "msp")
    assert row["fpr95"] == row["fpr95_lower"] == row["fpr95_upper"] == 1
    assert row["auprc"] == pytest.approx(row["positives"] / row["pixels"], abs=1e-12)
    assert row["auroc"] == 0.5
    (unresolved,) = results(flat, "--methods", "msp", "--resolve", "none")
    assert unresolved["fpr95_lower"] == 0 and unresolved["fpr95_upper"] == 1


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_results_that_cannot_be_printed_end_in_a_line(pixel_store):
    words = [sys.executable, "-m", "logitpipe", "score", str(pixel_store)]
    with Path("/dev/full").open("w") as full:
        result = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert result.returncode == 1
    message = "pipe: the results cannot be written to stdout (No space left on device)"
    assert result.stderr.splitlines()[-1] == message


def test_damage_ends_the_run_and_names_the_image(pixel_store):
    chunk = pixel_store / "logits/c/1/0/0/0"
    data = bytearray(chunk.read_bytes())
    data[20] ^= 1
    chunk.write_bytes(data)
    result = score(pixel_store)
    assert (result.exit_code, result.stdout) == (4, "")
    assert result.stderr.splitlines()[-1].startswith(
        f"pipe: {pixel_store}: image 'b.png': logits/c/1/0/0/0: checksum"
    )


@pytest.mark.slow
@pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64"), reason="only x86 has processors with fewer vectors"
)
def test_an_older_processor_finds_the_same(pixel_store, tmp_path):
    """The kernels, compiled for one without AVX and fused multiplication; what fuses rounds once less."""
    generic = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": "", "NUMBA_CACHE_DIR": str(tmp_path)}
    words = [str(pixel_store), "--temperatures", "0.5,3"]
    command = [sys.executable, "-m", "logitpipe", "score", *words, "--json"]
    older = subprocess.run(command, env=os.environ | generic, capture_output=True, text=True, check=True)
    for there, here in zip(json.loads(older.stdout)["results"], results(*words), strict=True):
        for figure in ("auprc", "fpr95", "auroc"):
            assert there[figure] == pytest.approx(here[figure], abs=1e-5), here["method"]
