"""How far a long job is, on stderr: a bar on a terminal, a line now and then elsewhere."""

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

BAR_CELLS = 24
SECONDS_BETWEEN_REDRAWS = 0.1
SECONDS_BETWEEN_LINES = 30.0


class Progress:
    """Counts things done; use it as a context manager and call `advance` after each thing.

    Parameters
    ----------
    label : what is going on
    total : number of things to do
    unit : what is counted, in the plural
    clock : seconds, monotonic
    """

    def __init__(
        self, label: str, total: int, unit: str = "images", clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.label, self.total, self.unit, self.clock = label, total, unit, clock
        self.done = 0
        self.started = self.shown = clock()
        self.on_terminal, self.width = sys.stderr.isatty(), 0

    def __enter__(self) -> Self:
        """Show that the job has begun."""
        self._show()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Show how far the job came, and leave the cursor on a line of its own."""
        self._show()
        if self.on_terminal:
            sys.stderr.write("\n")

    def advance(self) -> None:
        """Count one more; show it if the last sign of life is long enough ago."""
        self.done += 1
        pause = SECONDS_BETWEEN_REDRAWS if self.on_terminal else SECONDS_BETWEEN_LINES
        if self.clock() - self.shown >= pause:
            self._show()

    def _line(self) -> str:
        text = f"{self.label}: {self.done}/{self.total} {self.unit}"
        seconds = self.shown - self.started
        if not self.done or seconds <= 0:
            return text
        rate = self.done / seconds
        left = f", {_duration((self.total - self.done) / rate)} left" if self.done < self.total else ""
        return f"{text}, {rate:.2f} {self.unit}/s{left}"

    def _show(self) -> None:
        self.shown = self.clock()
        if self.on_terminal:
            filled = BAR_CELLS * self.done // max(1, self.total)
            text = f"[{'#' * filled:<{BAR_CELLS}}] {self._line()}"
            sys.stderr.write(f"\r{text:<{self.width}}")  # spaces wipe what a longer line left behind
            self.width = len(text)
        else:
            sys.stderr.write(f"{self._line()}\n")
        sys.stderr.flush()


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
