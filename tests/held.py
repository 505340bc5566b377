"""`pipe` in a process of its own, with fake networks; at a named moment it says so and holds still.

    python tests/held.py MODULE:NAME CALL SECONDS WORD...

calls `pipe WORD...`. Call number CALL of the function, or `Class.method`, NAME first prints `held` to stdout and
sleeps for so long; CALL 0 is none.
"""

import importlib
import sys
import time
from functools import reduce
from itertools import count
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOR_EVER = 600.0


def command(moment: str, call: int, *words: object, seconds: float = FOR_EVER) -> list[str]:
    """What to give to `subprocess.Popen` for a `pipe` that is held at a moment."""
    return [sys.executable, str(Path(__file__)), moment, str(call), str(seconds), *map(str, words)]


def hold(moment: str, call: int, seconds: float) -> None:
    module, _, name = moment.partition(":")
    *classes, last = name.split(".")
    owner = reduce(getattr, classes, importlib.import_module(module))
    function, calls = getattr(owner, last), count(1)

    def held(*args: object, **kwargs: object) -> object:
        if next(calls) == call:
            print("held", flush=True)
            time.sleep(seconds)
        return function(*args, **kwargs)

    setattr(owner, last, held)


def main(moment: str, call: str, seconds: str, *words: str) -> None:
    sys.path.insert(0, str(ROOT))
    if words[0] == "infer":
        from fake_networks import FAKES

        from logitpipe.stages.infer.networks import NETWORKS

        NETWORKS.update(FAKES)
    hold(moment, int(call), float(seconds))
    sys.argv = ["pipe", *words]
    importlib.import_module("logitpipe.cli").main()


if __name__ == "__main__":
    main(*sys.argv[1:])
