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
    with pytest.raises(MemoryError), bounded(megabytes=200):
        np.zeros(300 << 20, np.uint8)
    np.zeros(300 << 20, np.uint8)
