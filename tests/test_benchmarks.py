"""What is prepared for machines that are not here is run in small, so that it cannot rot."""

import json
import sys
import time

import pytest

from benchmarks import cuda, scale
from benchmarks.cuda_made import TINY
from benchmarks.sheet import Sheet
from benchmarks.watched import watch


@pytest.mark.slow
def test_the_run_on_a_gpu_goes_all_its_ways_on_a_cpu(tmp_path, capfd):
    assert cuda.main(["--tiny", "--device", "cpu", "--out", str(tmp_path)]) == 0, capfd.readouterr().err
    document = json.loads((tmp_path / "cuda.json").read_text())
    _, agreement, repeats, rates, lower, where, parts = (table["lines"] for table in document["tables"])
    assert [line[4] for line in agreement if line[1] == "none"] == ["yes"] * len(TINY.sizes)
    assert [same for *_, same in repeats] == [True, True]
    assert len(rates) == len(TINY.sizes) * len(TINY.batches)
    assert len(lower) == len(TINY.sizes) < len(where)
    assert [(name, how) for name, _, how in parts] == [(name, "done") for name in cuda.TINY]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["cuda.json", "cuda.md"]


PARTS = """
import os, sys, time
from pathlib import Path
from benchmarks.watched import run_parts

def good(sheet):
    sheet.line("Figures", ("part", "figure"), [sheet.name, 1])

def hangs(sheet):
    good(sheet)
    os.system("sleep 60")

def crashes(sheet):
    good(sheet)
    os._exit(139)

def fails(sheet):
    good(sheet)
    raise RuntimeError("CUDA error: an illegal memory access was encountered")

parts = {"first": good, "hangs": hangs, "crashes": crashes, "fails": fails, "last": good}
sys.exit(run_parts({name: parts[name] for name in sys.argv[2].split(",")}, Path(sys.argv[1])))
"""


@pytest.mark.slow
def test_a_part_that_hangs_crashes_or_fails_costs_itself_alone(tmp_path):
    names, folder = ("first", "hangs", "crashes", "fails", "last"), tmp_path / "parts"
    sheet = Sheet("all", tmp_path)

    def command(left):
        return [sys.executable, "-c", PARTS, str(folder), ",".join(left)]

    assert watch(command, dict.fromkeys(names, 60.0) | {"hangs": 0.5}, folder, sheet, 300) == 3
    *figures, parts = json.loads((tmp_path / "all.json").read_text())["tables"]
    assert [table["lines"] for table in figures] == [[[name, 1]] for name in names]
    ends = {name: how for name, _, how in parts["lines"]}
    assert ends["first"] == ends["last"] == "done"
    assert ends["hangs"] == "ended: it took too long"
    assert ends["crashes"] == "its process ended with 139"
    assert "illegal memory access" in ends["fails"]


@pytest.mark.slow
def test_what_is_left_when_the_time_is_over_is_named(tmp_path):
    def command(left):
        return [sys.executable, "-c", PARTS, str(tmp_path / "parts"), ",".join(left)]

    started, sheet = time.monotonic(), Sheet("all", tmp_path)
    assert watch(command, {"hangs": 60, "last": 60}, tmp_path / "parts", sheet, 2) == 2
    assert time.monotonic() - started < 30
    assert [how for *_, how in sheet.tables[-1]["lines"]] == ["ended: no time was left", "left out: no time"]


COSTS = scale.Costs(image=1, block=0.3, add=0.2, merge=0.3, bytes=5e6, full=2e7, stored=2e7, task=1e-3)


def test_a_simulated_cluster_is_linear_until_something_is_short():
    alone = scale.simulate(COSTS, 1, 10**6)
    assert alone.seconds == pytest.approx(10**6, rel=0.05)  # a second of scoring each
    assert alone.limit == "workers"
    ten, many = scale.simulate(COSTS, 10, 10**6), scale.simulate(COSTS, 10**5, 10**9)
    assert 0.9 < alone.seconds / ten.seconds / 10 <= 1
    assert many.limit != "workers"
    assert 10**9 / 10**5 < many.seconds < 10**9
    # A thousand times the pictures are a thousand times the bytes, and no more.
    assert scale.simulate(COSTS, 10, 10**9).sent == pytest.approx(1000 * ten.sent, rel=0.01)


def test_totals_grow_until_all_bins_are_filled():
    sizes = [scale.grown(COSTS, images) for images in (10, 20, 100, 10**6)]
    assert sizes[0] == COSTS.bytes
    assert sizes == sorted(sizes)
    assert sizes[1] < 2 * sizes[0]
    assert sizes[-1] == pytest.approx(COSTS.full)
    assert scale.levels(1) == [1]
    assert scale.levels(scale.FAN**2 + 1) == [65, 9, 2, 1]
