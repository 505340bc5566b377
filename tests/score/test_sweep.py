"""A sweep of more pairs than memory holds walks over the store again, and finds what a smaller one does."""

import json
import os
import resource
import subprocess
import sys

import pytest
from click.testing import CliRunner
from scoring import PROTOCOLS, make_plan, score_store

from logitpipe.cache import open_store
from logitpipe.cli import cli
from logitpipe.stages.score.passes import sweep
from logitpipe.stages.score.statistics.tally import PAIR_BYTES

ADDRESS_SPACE = 6_000_000 << 10
"""What `ulimit -v 6000000` leaves; a pair of method and temperature spans 13 MB of it."""

METHODS = ["msp", "entropy", "energy"]


@pytest.mark.parametrize("most", [1, 4, 1000])
def test_any_number_of_walks_finds_the_same(pixel_store, monkeypatch, most):
    store = open_store(pixel_store)
    plan = make_plan(store.schema, PROTOCOLS["standard"], None, [0.5, 1.0, 2.0])
    monkeypatch.setattr(sweep, "WALK_BYTES", most * PAIR_BYTES)
    walks, images = sweep.walks(plan), []
    assert [len(walk.pairs) <= most for walk in walks] == [True] * -(-len(plan.pairs) // most)
    scored = sweep.sweep(store, plan, store.completed(), 2, lambda: images.append(1))
    assert [each.row for each in scored] == score_store(store, plan)
    assert len(images) == len(walks) * len(store.completed())


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not limit address space")
def test_ten_thousand_pairs_fit_little_address_space(pixel_store):
    """Also the figures are those of a sweep that has room for all its pairs at once."""
    words = ["score", str(pixel_store), "--methods", ",".join(METHODS), "--json", "--resolve", "none"]
    done = subprocess.run(
        [sys.executable, "-m", "logitpipe", "-q", *words, "--temperatures", "0.01:34:0.01"],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE)),
    )
    assert (done.returncode, done.stderr) == (0, "")
    rows = json.loads(done.stdout)["results"]
    assert len(rows) == 10_200
    few = CliRunner().invoke(cli, [*words, "--temperatures", "0.1,20,34"])
    expected = json.loads(few.stdout)["results"]
    assert len(expected) == 9
    assert [row for row in rows if row["temperature"] in (0.1, 20.0, 34.0)] == expected
