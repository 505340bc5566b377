"""What is prepared for machines that are not here is run in small, so that it cannot rot."""

import json

import pytest

from benchmarks import cuda, scale


@pytest.mark.slow
def test_the_run_on_a_gpu_goes_all_its_ways_on_a_cpu(tmp_path, capsys):
    assert cuda.main(["--tiny", "--device", "cpu", "--out", str(tmp_path)]) == 0, capsys.readouterr().err
    document = json.loads((tmp_path / "cuda.json").read_text())
    titles = [table["title"] for table in document["tables"]]
    assert len(titles) == 3
    agreement, repeats, rates = (table["lines"] for table in document["tables"])
    assert [line[3] for line in agreement if line[1] == "none"] == ["yes"] * len(cuda.TINY.sizes)
    assert [same for _, same in repeats] == [True, True]
    assert len(rates) == len(cuda.TINY.sizes) * len(cuda.TINY.batches)


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
