"""The limits of the tests of hostile input can fail."""

import time

import numpy as np
import pytest
from hostile import TooSlow, bounded, posix


@posix
def test_what_takes_too_long_is_stopped():
    with pytest.raises(TooSlow), bounded(seconds=1):
        time.sleep(5)


@posix
def test_what_takes_too_much_memory_is_stopped():
    too_much = 4 << 30  # more than a process may have kept of what it freed, which would serve without any more room
    with pytest.raises(MemoryError), bounded(megabytes=200):
        np.zeros(too_much, np.uint8)
    np.zeros(too_much, np.uint8)
