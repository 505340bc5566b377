"""Parts of a benchmark in a process of their own: what hangs, crashes or raises costs itself alone.

A part's figures lie in `PART.json` from the moment it begins, and each line as soon as it is measured. The process
that watches joins them to one sheet, ends what takes too long, and begins the rest in a new process: after an error
of a GPU nothing more can be computed in the old one.
"""

import contextlib
import json
import os
import signal
import subprocess
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.sheet import Sheet

POLL_SECONDS = 0.2
STARTING_SECONDS = 60.0
"""How long a process may take until its first part begins: it loads torch, from a disk that may be slow."""

HEADER = ("part", "seconds", "how it ended")


def run_parts(parts: Mapping[str, Callable[[Sheet], None]], folder: Path) -> int:
    """Run parts in turn until one of them fails; return the exit code of the process.

    Parameters
    ----------
    parts : each adds lines to a sheet, by name
    folder : for their files
    """
    for name, part in parts.items():
        sheet = Sheet(name, folder, facts={"began": str(time.time())})
        sheet.save()
        try:
            part(sheet)
        except Exception:
            traceback.print_exc()
            _end(sheet, traceback.format_exc(limit=-3).strip())
            return 1
        _end(sheet, "done")
    return 0


def watch(
    command: Callable[[Sequence[str]], Sequence[str]],
    limits: Mapping[str, float],
    folder: Path,
    sheet: Sheet,
    seconds: float,
) -> int:
    """Run all parts in processes, join their figures, save them as they come; return how many parts were not done.

    Parameters
    ----------
    command : what runs the parts of some names with `run_parts`
    limits : seconds that each part may take, by name, in the order in which they run
    folder : for the files of the parts, empty at first
    sheet : to which their tables are added
    seconds : that all of it may take
    """
    until = time.time() + seconds
    ends: dict[str, tuple[float, str]] = {}
    while (left := [name for name in limits if name not in ends]) and time.time() < until:
        # A session of its own: with it ends whatever it has started.
        child = subprocess.Popen(command(left), start_new_session=True)
        try:
            how = _until_it_ends(child, left, limits, sheet, folder, until)
        finally:
            _kill(child)
        documents = _collect(sheet, folder, limits)
        for name in left:
            if name in documents:
                facts = documents[name]["machine"]
                taken = facts.get("seconds", time.time() - float(facts["began"]))
                ends[name] = float(taken), facts.get("ended", how)
        if not any(name in documents for name in left):
            ends[left[0]] = 0.0, how  # it did not even begin
    ends |= {name: (0.0, "left out: no time") for name in limits if name not in ends}
    sheet.tables.append({"title": "Parts", "header": list(HEADER), "lines": [[name, *ends[name]] for name in limits]})
    sheet.save()
    return sum(how != "done" for _, how in ends.values())


def _until_it_ends(
    child: "subprocess.Popen[bytes]",
    names: Sequence[str],
    limits: Mapping[str, float],
    sheet: Sheet,
    folder: Path,
    until: float,
) -> str:
    """Wait for a process and return how the part that it was in has ended."""
    started = time.time()
    while child.poll() is None:
        now = time.time()
        running = {
            name: float(document["machine"]["began"])
            for name, document in _collect(sheet, folder, names).items()
            if "ended" not in document["machine"]
        }
        if now > until:
            return "ended: no time was left"
        if any(now > began + limits[name] for name, began in running.items()):
            return "ended: it took too long"
        if not any((folder / f"{name}.json").exists() for name in names) and now > started + STARTING_SECONDS:
            return "ended: its process did not begin"
        time.sleep(POLL_SECONDS)
    return f"its process ended with {child.returncode}"


def _collect(sheet: Sheet, folder: Path, names: Sequence[str] | Mapping[str, float]) -> dict[str, Any]:
    """Return what the parts have written, and save the tables of all parts in one sheet."""
    documents = {name: document for name in names if (document := _read(folder / f"{name}.json"))}
    every = [document for file in folder.glob("*.json") if (document := _read(file))]
    tables = [
        table
        for document in sorted(every, key=lambda each: float(each["machine"]["began"]))
        for table in document["tables"]
    ]
    if tables != sheet.tables:
        sheet.tables = tables
        sheet.save()
    return documents


def _read(file: Path) -> Any:  # noqa: ANN401 (a document, or None)
    try:
        return json.loads(file.read_text())
    except (OSError, ValueError):  # not there, or half-written by a process that was ended
        return None


def _end(sheet: Sheet, how: str) -> None:
    sheet.facts |= {"seconds": f"{time.time() - float(sheet.facts['began']):.1f}", "ended": how}
    sheet.save()


def _kill(child: "subprocess.Popen[bytes]") -> None:
    """End a process and what it has started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
