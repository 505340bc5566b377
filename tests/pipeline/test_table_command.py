"""`pipe table` and `pipe compare`: what papers print, from the files of results alone."""

import csv
import io
import json
import re
import shutil
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from conftest import fails
from stores import fill, make_schema

from logitpipe.cli import cli
from logitpipe.results.columns import from_record
from logitpipe.results.per_image.histograms import ImageCounts, write_per_image
from logitpipe.results.reading import read_results
from logitpipe.stages.score.figures import bootstrap
from logitpipe.stages.score.figures.rows import Row
from logitpipe.tables.metrics import METRICS, printed
from logitpipe.tables.uncertainty.choices import optimism_tables, transfer_table

IMAGES = 6


def pipe(*words: object) -> Result:
    return CliRunner().invoke(cli, [*map(str, words)])


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Results of two networks on two data sets, with histograms of single images; the stores are gone."""
    home = tmp_path_factory.mktemp("results")
    names = [f"{i}.png" for i in range(IMAGES)]
    for kind, dataset in product(("pixel", "mask"), ("Tiny", "Other")):
        schema = replace(make_schema(kind, images=names), dataset=dataset)
        fill(home / f"{kind}-{dataset}.zarr", schema, scale=3.0 if dataset == "Tiny" else 2.0)
    words = ("--methods", "msp,entropy,maxlogit", "--temperatures", "0.5,1,2", "--out", home / "out")
    assert pipe("score", *sorted(home.glob("*.zarr")), *words).exit_code == 0
    for store in home.glob("*.zarr"):
        shutil.rmtree(store)
    rows = rows_of(home / "out")
    noise = np.random.default_rng(0)
    parts = [[row for row in rows if row.store == store] for store in dict.fromkeys(row.store for row in rows)]
    counts = [noise.poisson(3.0, (len(part), IMAGES, 2, 1024)).astype(np.int32) for part in parts]
    counts[0][1, :, 1, :256] += 9  # one row is far better than the others in every image
    shutil.rmtree(home / "out/per_image.zarr")
    write_per_image(home / "out/per_image.zarr", rows, [ImageCounts(tuple(names), each) for each in counts])
    return home / "out"


def rows_of(folder: Path) -> list[Row]:
    return [from_record(row) for row in json.loads((folder / "results.json").read_text())["results"]]


def as_lines(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text)))


@pytest.mark.parametrize(("temperature", "wanted"), [("1", 1), ("0.5", 0.5), ("best", None)])
def test_the_table_holds_every_network_and_method_on_every_data_set(folder, temperature, wanted):
    metrics = [METRICS[name] for name in ("auprc", "fpr95", "f1")]
    result = pipe("table", folder, "--metrics", "auprc,fpr95,f1", "--temperature", temperature, "--format", "csv")
    header, *lines = as_lines(result.stdout)
    titles = ["AuPRC", "FPR95", "F1"]
    assert header == ["network", "method", *(f"{name} {title}" for name in ("Other", "Tiny") for title in titles),
                      *(f"mean {title}" for title in titles), "mean rank"]  # fmt: skip
    rows = rows_of(folder)
    assert [line[:2] for line in lines] == [[n, m] for n in ("eomt", "enet") for m in dict.fromkeys(
        row.method for row in rows if row.network == n)]  # fmt: skip
    for network, method, *cells in lines:
        for dataset, at in (("Other", 0), ("Tiny", 3)):
            own = [row for row in rows if (row.network, row.method, row.dataset) == (network, method, dataset)]
            if wanted is None:
                row = max(own, key=lambda row: row.auprc)
            else:
                row = next(row for row in own if row.temperature in (None, wanted))
            assert cells[at : at + 3] == [printed(row, metric, 2) for metric in metrics]


def test_mean_and_rank_are_over_all_data_sets(folder):
    header, *lines = as_lines(pipe("table", folder, "--format", "csv").stdout)
    areas = np.array([
        [next(row.auprc for row in rows_of(folder) if (row.network, row.method, row.dataset) == (*line[:2], dataset)
              and row.temperature in (None, 1)) for dataset in ("Other", "Tiny")]
        for line in lines
    ])  # fmt: skip
    means = [float(line[header.index("mean AuPRC")]) for line in lines]
    assert means == pytest.approx(100 * areas.mean(axis=1), abs=0.6)
    ranks = (areas[:, None] < areas[None]).sum(axis=1) + 1
    assert [float(line[-1]) for line in lines] == pytest.approx(ranks.mean(axis=1))


def test_no_digit_is_printed_that_is_not_known():
    row = replace(rows_like(), auprc=0.25, auprc_lower=0.24999, auprc_upper=0.25001)
    for low, high, expected in (
        (0.25, 0.25, "25.000"),
        (0.249996, 0.250004, "25.000"),
        (0.24994, 0.25004, "25.0"),
        (0.2494, 0.2506, "25"),
        (0.244, 0.246, "24.4 to 24.6"),
        (0.1, 0.4, "10.0 to 40.0"),
    ):
        assert printed(replace(row, auprc_lower=low, auprc_upper=high), METRICS["auprc"]) == expected


def rows_like() -> Row:
    facts = {"store": "s", "network": "n", "kind": "pixel", "dataset": "d", "protocol": "standard", "method": "msp"}
    return from_record({**facts, "iou": [], "images": 1, "pixels": 2, "positives": 1, "temperature": 1.0})


def test_latex_is_one_table_with_a_block_for_each_network(folder):
    text = pipe("table", folder, "--format", "latex").stdout
    assert text.count(r"\begin{tabular}{llrrrrrrr}") == 1
    assert r" & & \multicolumn{2}{c}{Other} & \multicolumn{2}{c}{Tiny} & \multicolumn{3}{c}{mean} \\" in text
    assert text.count(r"\midrule") == 2
    assert len(re.findall(r"^enet & ", text, re.M)) == len(re.findall(r"^eomt & ", text, re.M)) == 1
    assert {line.count("&") for line in text.splitlines() if line.endswith(r"\\") and "multicolumn" not in line} == {
        8
    }


def test_markdown_and_html_hold_the_same_figures(folder):
    found = [re.findall(r"\d+\.\d+", pipe("table", folder, "--format", name).stdout) for name in ("markdown", "html")]
    assert found[0] == found[1] != []


def test_folders_are_joined(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "again")
    assert pipe("table", folder, tmp_path / "again").stdout == pipe("table", folder).stdout


@pytest.mark.slow
def test_intervals_are_those_of_the_bootstrap(folder):
    header, first, *_ = as_lines(pipe("table", folder, "--intervals", "--format", "csv").stdout)
    low, high = map(float, first[header.index("Other AuPRC interval")].strip("[]").split(","))
    assert 0 <= low < high <= 100


@pytest.mark.slow
@pytest.mark.parametrize("metric", ["auprc", "fpr95"])
def test_compare_tells_apart_what_differs_in_every_image_and_nothing_else(folder, metric):
    lines = pipe("compare", folder, "--metric", metric).stdout.splitlines()
    verdicts = [line for line in lines if "told apart" in line or "better" in line.split() or "worse" in line.split()]
    rows = rows_of(folder)
    of_noise = [row for row in rows if row.temperature in (None, 1) and row.dataset != rows[0].dataset]
    assert sum("cannot be told apart" in line for line in verdicts) >= len(of_noise) - 1
    assert sum("worse" in line.split() for line in lines) == 0 or metric == "auprc"


@pytest.mark.slow
def test_compare_against_a_row_or_all_pairs(folder):
    lines = pipe("compare", folder, "--against", "enet:msp").stdout.splitlines()
    assert sum("all are compared with this one" in line for line in lines) == 2
    count = len(as_lines(pipe("compare", folder, "--all-pairs", "--format", "csv").stdout))
    rows = [row for row in rows_of(folder) if row.temperature in (None, 1)]
    sizes = [sum(row.dataset == name for row in rows) for name in ("Tiny", "Other")]
    assert count == sum(n * (n - 1) // 2 + 1 for n in sizes) + 1
    fails(pipe("compare", folder, "--all-pairs", "--against", "msp"), "pipe: --all-pairs compares each with each; "
          "leave --against out", code=2)  # fmt: skip
    result = pipe("compare", folder, "--against", "msp")
    assert result.exit_code == 2 and "--against: 'msp' is not one of the rows of " in result.stderr


@pytest.mark.slow
def test_figures_of_single_images_are_a_csv(folder, tmp_path):
    path = tmp_path / "images.csv"
    assert pipe("compare", folder, "--per-image", path).exit_code == 0
    lines = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))
    rows = [row for row in rows_of(folder) if row.temperature in (None, 1)]
    assert len(lines) == IMAGES * len(rows)
    assert {line["image"] for line in lines} == {f"{i}.png" for i in range(IMAGES)}
    assert all(0 < float(line["auprc"]) < 1 for line in lines)
    assert pipe("compare", folder, "--per-image", path).exit_code == 1


def test_without_histograms_of_images_the_reason_is_said(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "old", ignore=shutil.ignore_patterns("per_image.zarr"))
    line = f"pipe: {tmp_path}/old: there are no histograms of single images (per_image.zarr); run `pipe score --out "
    fails(pipe("compare", tmp_path / "old"), f"{line}{tmp_path}/old --overwrite` again")
    assert pipe("table", tmp_path / "old").exit_code == 0


def test_single_images_open_in_xarray(folder):
    import xarray

    with xarray.open_zarr(folder / "per_image.zarr", group="0") as dataset:
        assert dataset["counts"].dims == ("row", "image", "class", "bin")
        assert dataset["counts"].dtype == np.int32
        assert dataset["image"].values.tolist() == [f"{i}.png" for i in range(IMAGES)]
        pooled = bootstrap.image_figures(dataset["counts"].values.sum(axis=1, keepdims=True))
    assert pooled.shape[1:] == (1, 3)


@pytest.mark.slow
def test_a_chosen_temperature_never_stands_alone(folder):
    text = pipe("table", folder, "--temperature", "best").stdout
    for dataset in ("Tiny", "Other"):
        assert f"{dataset}: temperatures chosen on its labels, per cent" in text
    assert "AuPRC at temperatures chosen elsewhere, per cent" in text


@pytest.mark.slow
def test_gain_optimism_and_correction_add_up(folder):
    (table, *_) = optimism_tables(read_results([folder]), 3)
    for line in table.lines:
        plain, _, best, gain, optimism, corrected = (float(cell.text) for cell in line[2:])
        assert best - plain == pytest.approx(gain, abs=0.6)
        assert best - optimism == pytest.approx(corrected, abs=0.6)
        assert gain >= 0


def test_the_temperature_of_one_data_set_is_tried_on_the_others(folder):
    table, rows = transfer_table(read_results([folder]), 3), rows_of(folder)
    assert table.header == ("network", "method", "T chosen on", "T", "Other", "Tiny")
    for network, method, source, T, *cells in table.lines:
        of_method = [row for row in rows if (row.network, row.method) == (network.text, method.text)]
        if source.text != "nothing":
            own = [row for row in of_method if row.dataset == source.text]
            assert float(T.text) == max(own, key=lambda row: row.auprc).temperature
        for dataset, cell in zip(("Other", "Tiny"), cells, strict=True):
            row = next(row for row in of_method if (row.dataset, row.temperature) == (dataset, float(T.text)))
            assert cell.text == printed(row, METRICS["auprc"])
            assert (cell.note == "own") == (dataset == source.text)
