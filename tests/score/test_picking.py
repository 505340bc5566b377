"""Pixels that do not count are passed over in blocks, and nothing else is."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scoring import compiled
from stores import make_schema, noise_values

from logitpipe.cache import IntegrityError, StoreWriter, open_store
from logitpipe.cache.writing import commit
from logitpipe.stages.score.kernels.counting.bins import ANOMALY, IGNORED, NORMAL
from logitpipe.stages.score.kernels.counting.picking import make_picked, pick
from logitpipe.stages.score.kernels.vectors import LANES
from logitpipe.stages.score.passes.sweep import tally_store
from logitpipe.stages.score.plan import make_plan
from logitpipe.stages.score.protocols import PROTOCOLS

compiled_pick = compiled(pick)

RUNS = st.lists(st.tuples(st.sampled_from([NORMAL, ANOMALY, IGNORED]), st.integers(1, 30)), min_size=1, max_size=12)


@settings(max_examples=100, deadline=None)
@given(RUNS)
def test_the_blocks_that_count_are_picked(runs):
    labels = np.concatenate([np.full(length, label, np.uint8) for label, length in runs])
    padded = np.append(labels, np.full(-len(labels) % LANES, IGNORED, np.uint8)).reshape(-1, LANES)
    kept = (padded != IGNORED).any(axis=1)
    picked = compiled_pick(labels, make_picked(len(labels)))
    assert picked.starts.tolist() == (LANES * np.flatnonzero(kept)).tolist()
    assert np.array_equal(picked.labels, padded[kept].ravel())


def test_a_broken_logit_is_found_where_nothing_is_scored(tmp_path, monkeypatch):
    monkeypatch.setattr(commit, "_all_finite", lambda _values: True)  # an older release let it in
    schema = make_schema("pixel", "float32", images=("a.png",))
    values = noise_values(schema, 0, codes=[0, 1])
    values["labels"][:, :8] = 255
    values["logits"][2, 3, 1] = np.nan
    StoreWriter(tmp_path / "store", schema).commit(0, values, {})
    store = open_store(tmp_path / "store")
    plan = make_plan(store.schema, PROTOCOLS["course"], None, (1.0,))
    with pytest.raises(IntegrityError, match="finite logits were expected, 1 are NaN or infinite"):
        tally_store(store, plan, [0], 1, lambda: None)
