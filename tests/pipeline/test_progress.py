"""Progress on stderr, on a terminal and elsewhere."""

import os
import sys
from pathlib import Path

import pytest

from logitpipe.console import progress as module
from logitpipe.console.progress import Progress


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def work(progress: Progress, clock: Clock, *pauses: float) -> None:
    """Do one thing after each pause."""
    for pause in pauses:
        clock.now += pause
        progress.advance()


@pytest.fixture
def terminal(monkeypatch):
    """Give a function that makes stderr a terminal of so many cells."""

    def of(width: int | None) -> None:
        monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setattr(module, "columns", lambda _stream: width)

    return of


def test_off_a_terminal_there_is_a_line_now_and_then(capsys):
    clock = Clock()
    with Progress("enet", 4, clock=clock) as progress:
        work(progress, clock, 10, 30, 0)
        clock.now += 20
    assert capsys.readouterr().err.splitlines() == [
        "enet: 0/4 images",
        "enet: 2/4 images, 20.0 s/image, 0:40 left",
        "enet: 3/4 images, 20.0 s/image, stopped after 1:00",
    ]


def test_the_end_tells_the_rate_of_the_whole_job(capsys):
    clock = Clock()
    with Progress("counting", 100, "masks", clock=clock) as progress:
        work(progress, clock, *[0.5] * 100)
    assert capsys.readouterr().err.splitlines()[-1] == "counting: 100/100 masks, 2.00 masks/s, done in 0:50"


def test_what_was_there_already_counts_but_takes_no_time(capsys):
    clock = Clock()
    with Progress("enet", 10, already=4, clock=clock) as progress:
        work(progress, clock, 40, 40)
    assert capsys.readouterr().err.splitlines() == [
        "enet: 4/10 images, 4 of them already there",
        "enet: 5/10 images, 40.0 s/image, 3:20 left",
        "enet: 6/10 images, 40.0 s/image, 2:40 left",
        "enet: 6/10 images, 40.0 s/image, stopped after 1:20",
    ]


def test_the_time_left_forgets_a_slow_start(capsys):
    clock = Clock()
    with Progress("enet", 1000, clock=clock) as progress:
        work(progress, clock, 600, *[2] * 40)
    assert "31/1000 images, 2.0 s/image, 32:18 left" in capsys.readouterr().err


def test_a_few_things_in_a_long_time_all_count(capsys):
    clock = Clock()
    with Progress("eomt", 20, clock=clock) as progress:
        work(progress, clock, 100, 200, 300)
    assert "eomt: 3/20 images, 200.0 s/image, 56:40 left" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("seconds", "text"), [(1, "0:01"), (61, "1:01"), (3600, "1:00:00"), (100 * 3600 + 65, "100:01:05")]
)
def test_durations_are_read_as_on_a_clock(capsys, seconds, text):
    clock = Clock()
    with Progress("enet", 2, clock=clock) as progress:
        work(progress, clock, seconds)
    assert capsys.readouterr().err.endswith(f"stopped after {text}\n")


def test_no_time_at_all_gives_no_rate(capsys):
    with Progress("enet", 2, clock=Clock()) as progress:
        work(progress, progress.clock, 0, 0)
    assert capsys.readouterr().err.splitlines()[-1] == "enet: 2/2 images, done in 0:00"


def test_a_terminal_sees_one_line_redrawn(capsys, terminal):
    terminal(80)
    clock = Clock()
    with Progress("enet", 2, clock=clock) as progress:
        work(progress, clock, 1, 1)
    bars = [" " * 24, "#" * 12 + " " * 12, "#" * 24, "#" * 24]
    facts = [
        "0/2 images",
        "1/2 images, 1.00 images/s, 0:01 left",
        "2/2 images, 1.00 images/s",
        "2/2 images, 1.00 images/s, done in 0:02",
    ]
    frames = capsys.readouterr().err.removesuffix("\n").split("\r")[1:]
    assert [frame.rstrip() for frame in frames] == [f"[{b}] enet: {f}" for b, f in zip(bars, facts, strict=True)]
    assert [len(frame) for frame in frames] == [43, 69, 69, 72]  # the third wipes what was longer


def test_a_long_wait_is_counted(capsys, terminal, monkeypatch):
    """Nothing is done for a while: neither between two things, nor when the last one's figures are computed."""
    terminal(80)
    monkeypatch.setattr(module, "SECONDS_BETWEEN_LOOKS", 0.01)
    clock, seen = Clock(), ""
    with Progress("enet", 2, clock=clock) as progress:
        work(progress, clock, 1)
        clock.now += 4
        while "at work" not in seen:
            seen += capsys.readouterr().err
    assert seen.split("\r")[-1].rstrip() == f"[{'#' * 12:<24}] enet: 1/2 images, at work for 0:04"


@pytest.mark.parametrize(
    ("width", "frame"),
    [
        (200, "[############            ] enet on 道路: 1/2 images, 1.00 images/s, 0:01 left"),
        (78, "[############            ] enet on 道路: 1/2 images, 1.00 images/s, 0:01 left"),
        (77, "enet on 道路: 1/2 images, 1.00 images/s, 0:01 left"),
        (51, "enet on 道路: 1/2 images, 1.00 images/s, 0:01 left"),
        (50, "ene... 道路: 1/2 images, 1.00 images/s, 0:01 left"),
        (40, "1/2 images, 1.00 images/s, 0:01 left"),
        (20, "1/2 imag...:01 left"),
        (None, "[############            ] enet on 道路: 1/2 images, 1.00 images/s, 0:01 left"),
    ],
)
def test_no_line_is_wider_than_the_terminal(capsys, terminal, width, frame):
    terminal(width)
    clock = Clock()
    with Progress("enet on 道路", 2, clock=clock) as progress:
        work(progress, clock, 1)
    assert capsys.readouterr().err.split("\r")[2].rstrip() == frame


def test_a_dumb_terminal_gets_lines(capsys, terminal, monkeypatch):
    terminal(80)
    monkeypatch.setenv("TERM", "dumb")
    with Progress("enet", 1, clock=Clock()):
        pass
    assert capsys.readouterr().err == "enet: 0/1 images\nenet: 0/1 images, stopped after 0:00\n"


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="no pseudo-terminals here")
def test_the_width_is_that_of_the_terminal_behind_the_stream():
    import fcntl
    import struct
    import termios

    from logitpipe.console.streams import columns

    ours, theirs = os.openpty()
    with os.fdopen(theirs, "w") as stream:
        for width, found in ((57, 57), (0, None)):
            fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", 9, width, 0, 0))
            assert columns(stream) == found
    os.close(ours)
    with Path(os.devnull).open("w") as stream:
        assert columns(stream) is None
