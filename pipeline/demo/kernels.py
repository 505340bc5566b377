"""Kernels of the demo's scoring, compiled by processes of their own while the networks run.

Compiling takes half a minute of one core. On a machine with more than one the demo need not wait for all of it.
"""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import get_args

import numpy as np

from logitpipe.cache.format.schema import Kind
from logitpipe.stages.classes import CITYSCAPES

SIZE, QUERIES = (16, 32), 4
"""Of the one image that is scored: code depends on types of arrays, not on their sizes."""


@contextmanager
def compiled_beside() -> Iterator[None]:
    """Have the kernels for both kinds of networks compiled by other processes; end these with the block.

    A run of scores waits for code that another process is compiling, and compiles what none has begun. If they
    fail, it compiles everything itself.
    """
    words = [sys.executable, "-m", __name__]
    nothing = subprocess.DEVNULL
    running = [
        subprocess.Popen([*words, kind], stdin=nothing, stdout=nothing, stderr=nothing) for kind in get_args(Kind)
    ]
    try:
        yield
    finally:
        for process in running:
            process.terminate()
            process.wait()


def compile_kernels(kind: Kind) -> None:
    """Compile what the demo needs for stores of one kind, by scoring one of noise as the demo does."""
    from logitpipe.api.create import create
    from logitpipe.api.scores import score

    noise, (height, width) = np.random.default_rng(0), SIZE
    names = [each.name for each in CITYSCAPES]
    classes = [*names, "void"] if kind == "pixel" else names
    labels = noise.integers(0, 2, SIZE, dtype=np.uint8)
    with TemporaryDirectory() as folder:
        path = Path(folder) / kind
        with create(
            path,
            kind=kind,
            classes=classes,
            images=["noise.png"],
            dataset="Noise",
            network=kind,
            void_class="void" if kind == "pixel" else None,
            class_codes=dict(zip(names, range(len(names)), strict=True)),
        ) as store:
            if kind == "pixel":
                store.add("noise.png", noise.normal(size=(len(classes), *SIZE)), labels)
            else:
                masks = noise.normal(size=(QUERIES, height // 4, width // 4))
                store.add(
                    "noise.png",
                    mask_logits=masks,
                    class_logits=noise.normal(size=(QUERIES, len(names) + 1)),
                    labels=labels,
                )
            # With all steps, as code is compiled when it is first called: the scores, and a picture of the report.
            score(path, temperatures=[0.5, 1], also="closed-set", workers=2, progress=False)
            store.open().score_map("noise.png", "msp")


if __name__ == "__main__":
    compile_kernels(sys.argv[1])  # type: ignore[arg-type]
