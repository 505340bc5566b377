"""The campaigns of `tests/campaigns/`, cut to what a run of all tests has time for."""

import pytest

from tests.campaigns.kills import run_kills
from tests.campaigns.writers import run_writers


@pytest.mark.slow
def test_random_kills_lose_nothing(tmp_path):
    tally = run_kills(30, seed=1, folder=tmp_path, sync=False)
    assert tally.runs == 30
    assert tally.kills >= 15  # the others came too late
    assert tally.in_a_commit >= 1
    assert sum(tally.after.values()) == tally.kills
    assert (tally.lost, tally.damaged, tally.different, tally.left) == (0, 0, 0, 0), str(tally)


@pytest.mark.slow
def test_several_writers_make_the_store_of_one(tmp_path):
    tally = run_writers(12, seed=1, folder=tmp_path)
    assert tally.runs == 12
    assert tally.kills >= 2
    assert tally.refused >= 1
    assert (tally.failed, tally.lost, tally.different, tally.left) == (0, 0, 0, 0), str(tally)
