"""The campaign of `tests/campaigns/machine.py`, cut to what a run of all tests has time for."""

import pytest

from tests.campaigns.machine import run_machine


@pytest.mark.slow
def test_any_order_of_events(monkeypatch):
    monkeypatch.setattr("os.fsync", lambda _descriptor: None)  # the kernel outlives who is killed here
    run_machine(100)
