"""Progress of a long job: a bar on a terminal, a line every 30 s elsewhere on stderr, nothing with -q.

Where nothing gets done for a while, as in a long last step, the seconds of that are counted. A caller in Python is
handed each line (see audience.py).
"""

import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Self

from logitpipe.console.audience import caller
from logitpipe.console.messages import is_quiet
from logitpipe.console.streams import columns, is_terminal
from logitpipe.console.text import cells, counted, printable, shortened

BAR_CELLS = 24
SECONDS_BETWEEN_REDRAWS = 0.1
SECONDS_BETWEEN_LINES = 30.0
"""A log keeps every line: of a night's run it should have hundreds, and not a million."""

SECONDS_BETWEEN_LOOKS, SECONDS_BEFORE_COUNTING = 1.0, 2.0
"""How often it is looked whether anything was done, and after how long without it the seconds are counted."""

WINDOW_SECONDS, WINDOW_STEPS = 30.0, 20
"""Window of the rate: the last 30 s, but at least the last 20 things. A slow start is so forgotten."""


class Progress:
    """Counts things done; use it as a context manager and call `advance` after each thing.

    Parameters
    ----------
    label : what is going on
    total : number of things that will be done in the end
    unit : what is counted, in the plural
    already : how many of the total an earlier run has done
    of : number of images, where each of them may be read more than once: it is said once there are more to be done
    clock : seconds, monotonic
    """

    def __init__(
        self,
        label: str,
        total: int,
        unit: str = "images",
        already: int = 0,
        of: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.of = of
        self.label, self.total, self.unit, self.already, self.clock = printable(label), total, unit, already, clock
        self.done, self.drawn = already, 0
        # `shown` starts now: the first line of a log comes after a whole pause, as __enter__ has said the beginning.
        self.started = self.shown = clock()
        self.steps = deque([(self.started, already)])
        self.advanced, self.lock, self.ended = self.started, threading.Lock(), threading.Event()
        self.caller = caller()
        self.watch: threading.Thread | None = None
        self._name()
        self.on_terminal, self.quiet = self.caller is None and is_terminal(sys.stderr), is_quiet()

    def __enter__(self) -> Self:
        """Show that the job has begun."""
        there = f", {self.already} of them already there" if self.already else ""
        self._show(self._count() + there)
        if self.caller.show if self.caller else not self.quiet:
            self.watch = threading.Thread(target=self._watch, daemon=True)
            self.watch.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Show how far the job came and how long it took, and leave the cursor on a line of its own."""
        self.ended.set()
        if self.watch:
            self.watch.join()
        # Only what this run did: images of an earlier run took none of these seconds.
        seconds, new = self.clock() - self.started, self.done - self.already
        end = "done in" if self.done == self.total else "stopped after"
        self._show(f"{self._count()}{self._rate(new, seconds)}, {end} {_duration(seconds)}")
        if self.on_terminal and not self.quiet:
            sys.stderr.write("\n")

    def extend(self, more: int) -> None:
        """Add things that will be done to those that were foreseen."""
        self.total += more
        self._name()

    def _name(self) -> None:
        """Say that images are read, and of how many, where each is read more than once."""
        if self.of is not None and self.total > self.of:
            self.unit = "readings"

    def advance(self) -> None:
        """Count one more; show it if the last sign of life is long enough ago."""
        with self.lock:
            self.done += 1
            self.advanced = now = self.clock()
            self.steps.append((now, self.done))
            # Both limits must be passed: slow steps are kept until there are 20, fast ones until they are 30 s old.
            while len(self.steps) > WINDOW_STEPS + 1 and now - self.steps[0][0] > WINDOW_SECONDS:
                self.steps.popleft()
            if now - self.shown >= self._pause(SECONDS_BETWEEN_REDRAWS):
                self.shown = now
                self._show(self._under_way())

    def _pause(self, on_terminal: float) -> float:
        return on_terminal if self.on_terminal or self.caller else SECONDS_BETWEEN_LINES

    def _watch(self) -> None:
        """Count the seconds in which nothing gets done."""
        while not self.ended.wait(SECONDS_BETWEEN_LOOKS):
            with self.lock:
                now = self.clock()
                since = now - self.advanced
                if since >= SECONDS_BEFORE_COUNTING and now - self.shown >= self._pause(SECONDS_BETWEEN_LOOKS):
                    self.shown = now
                    self._show(f"{self._count()}, at work for {_duration(since)}")

    def _under_way(self) -> str:
        (first, before), (last, done) = self.steps[0], self.steps[-1]
        seconds, new, left = last - first, done - before, self.total - done
        time_left = f", {_duration(left * seconds / new)} left" if left else ""
        return f"{self._count()}{self._rate(new, seconds)}{time_left}"

    def _count(self) -> str:
        which = f" of {counted(self.of, 'image')}" if self.of is not None and self.total > self.of else ""
        return f"{self.done}/{self.total} {self.unit}{which}"

    def _rate(self, new: int, seconds: float) -> str:
        """Return things in a second, or seconds for a thing where that is more than one."""
        if not new or seconds <= 0:
            return ""
        rate = new / seconds
        return f", {rate:.2f} {self.unit}/s" if rate >= 1 else f", {1 / rate:.1f} s/{self.unit.removesuffix('s')}"

    def _show(self, facts: str) -> None:
        if self.caller:
            if self.caller.show:
                self.caller.show(self._fitted(facts, None))
            return
        if self.quiet:
            return
        if self.on_terminal:
            text = self._fitted(facts, columns(sys.stderr))
            # Spaces wipe what a longer line left behind.
            sys.stderr.write(f"\r{text}{' ' * (self.drawn - cells(text))}")
            self.drawn = cells(text)
        else:
            sys.stderr.write(f"{self.label}: {facts}\n")
        sys.stderr.flush()

    def _fitted(self, facts: str, width: int | None) -> str:
        """Return a line that a terminal does not wrap: without its bar if need be, then with a shorter label."""
        filled = BAR_CELLS * self.done // max(1, self.total)
        line, bar = f"{self.label}: {facts}", f"[{'#' * filled:<{BAR_CELLS}}] "
        room = cells(bar + line) if width is None else width - 1  # a full last column wraps too
        if cells(bar + line) <= room:
            return bar + line
        label = shortened(self.label, room - cells(facts) - len(": "))
        return f"{label}: {facts}" if label else shortened(facts, room)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
