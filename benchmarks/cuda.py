"""`pipe infer` on a GPU: whether it is right, how fast it is, and what holds it up.

    python -m benchmarks.cuda [--out FOLDER] [--seconds 285] [--device cuda] [--tiny] [--only PART,...]

Prints its figures as they come and keeps them in FOLDER/cuda.json and cuda.md from the first one on; all tables come
once more at its end. Its parts run in a process of their own: one that hangs or fails costs itself alone, and the
whole never takes longer than it may. Where PIPE_REAL_DATA names the real pictures and weights, these are computed
too. `--tiny` is for a test on a CPU: it goes the same ways with small networks and pictures, and its figures mean
nothing.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from sklearn.metrics import average_precision_score
from torch import Tensor

from benchmarks.cuda_made import FULL, TINY, Bench, infer
from benchmarks.cuda_rates import content, measure_rates, measure_sharing, measure_where, shard
from benchmarks.real import WEIGHTS, real_data, real_folder
from benchmarks.sheet import RESULTS, Sheet
from benchmarks.watched import run_parts, watch
from logitpipe.cache import open_store
from logitpipe.stages.infer.describe import software
from logitpipe.stages.infer.device.device import choose_device
from logitpipe.stages.infer.model import Model, load_model
from logitpipe.stages.infer.networks.seam import Source
from logitpipe.stages.memory import heaps_beside, keep_freed_memory
from tests.golden_rule import BAR, golden_images

SECONDS = 285.0
SHARE_OF_ANOMALY = 0.05
ROOT = Path(__file__).parents[1]
LINES_OF_PYTEST = 12
SAME = "Is the store the same, byte for byte? Of one model of GPU it must be; of another one it need not"


def measure_facts(sheet: Sheet, bench: Bench) -> None:
    """The versions and settings that a store records, and the driver's."""
    query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    try:
        driver = subprocess.run(query, capture_output=True, text=True, check=True, timeout=20).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        driver = "none"
    header = ("what", "value")
    found = software(bench.model(next(iter(bench.scale.sizes)))) | {"driver": driver}
    if bench.device.type == "cuda":
        free, total = torch.cuda.mem_get_info(bench.device)
        found |= {
            "multiprocessors": str(torch.cuda.get_device_properties(bench.device).multi_processor_count),
            "free memory": f"{free / 1e9:.1f} of {total / 1e9:.1f} GB",
            "CUBLAS_WORKSPACE_CONFIG": os.environ.get("CUBLAS_WORKSPACE_CONFIG", ""),
        }
    for line in found.items():
        sheet.line("Software", header, line)


def measure_tests(sheet: Sheet, _bench: Bench) -> None:
    """Run the tests that need a GPU: their files alone, as other tests need libraries that a GPU machine may lack."""
    files = [str(file) for file in sorted((ROOT / "tests").rglob("test_*.py")) if "mark.gpu" in file.read_text()]
    # What libraries warn of on another machine is no fault of ours.
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider", "-W", "default", *files]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    for said in (done.stdout + done.stderr).strip().splitlines()[-LINES_OF_PYTEST:]:
        sheet.line("Tests marked gpu", ("what pytest says last",), [said[:300]])


def measure_agreement(sheet: Sheet, bench: Bench) -> None:
    """Logits of the device beside those of the CPU, and what lower precision changes."""
    title = f"Logits of {bench.device} beside float32 on the CPU, of made weights"
    header = ("network", "amp", "largest difference / std", f"within {BAR:g}", "argmax changed", "AuPRC moved, %")
    for name in bench.scale.sizes:
        images = golden_images(*bench.scale.sizes[name])
        expected = logits(bench.model(name, torch.device("cpu")), images)
        model = bench.model(name)
        score = anomaly(expected)
        noise = np.random.default_rng(0).standard_normal(score.size) * score.std()
        # Labels that a score finds some of: of made weights none would find those of made pictures.
        labels = score + noise > np.quantile(score + noise, 1 - SHARE_OF_ANOMALY)
        before = average_precision_score(labels, score)
        for amp in bench.amps():
            found = logits(replace(model, amp=amp), images)
            apart = max(float((found[key] - z).abs().max() / z.std()) for key, z in expected.items())
            change = average_precision_score(labels, anomaly(found)) - before
            verdict = ("yes" if apart <= BAR else "NO") if amp == "none" else "-"
            line = [name, amp, f"{apart:.1e}", verdict, _argmax_changed(found, expected), f"{100 * change:+.2g}"]
            sheet.line(title, header, line)


def _argmax_changed(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> str:
    array, axis = ("logits", 1) if "logits" in expected else ("class_logits", 2)
    return f"{100 * float((found[array].argmax(axis) != expected[array].argmax(axis)).float().mean()):.3g} %"


@torch.inference_mode()
def logits(model: Model, images: Tensor) -> dict[str, Tensor]:
    """Return the logits of some images, on the CPU."""
    found = model.logits(images.to(model.device).contiguous(memory_format=torch.channels_last))
    return {name: z.float().cpu() for name, z in found.items()}


def anomaly(found: Mapping[str, Tensor]) -> np.ndarray:
    """Return 1 - the largest probability of each pixel: float64 (n,)."""
    if "logits" in found:
        return 1 - found["logits"].double().softmax(1).amax(1).numpy().ravel()
    classes = found["class_logits"].double().softmax(2)[..., :-1]
    S = torch.einsum("bqk,bqhw->bkhw", classes, found["mask_logits"].double().sigmoid())
    return 1 - S.amax(1).numpy().ravel()


def measure_repeats(sheet: Sheet, bench: Bench) -> None:
    """The same store twice, and once more begun by another process that is killed on its way."""
    header = ("network", "run", "same")
    # One network will do on a CPU, where it is for a test: another process takes seconds to load torch.
    for name in list(bench.scale.sizes)[: 2 if bench.device.type == "cuda" else 1]:
        first, second, third = (next(bench.places) for _ in range(3))
        model, batch = bench.model(name), bench.scale.batches[0]
        infer(model, bench.dataset, first, batch)
        infer(model, bench.dataset, second, batch)
        sheet.line(SAME, header, [name, "the same again", content(second) == content(first)])
        other = shard(bench, name, third, 1, 2)
        while not any((third / "records").glob("*.json")) and other.poll() is None:
            time.sleep(0.01)
        other.kill()
        other.wait()
        there = len(list((third / "records").glob("*.json")))
        infer(model, bench.dataset, third, batch)
        run = f"every second picture by another process, killed when {there} were there; then the rest"
        sheet.line(SAME, header, [name, run, content(third) == content(first)])


def measure_real(sheet: Sheet, bench: Bench) -> None:
    """Real networks over RoadAnomaly21: what device and precision change of their logits and of AuPRC."""
    header = ("network", "where", "amp", "largest difference / std", "pixels whose class changed", "AuPRC of msp, %")
    if (folder := real_folder()) is None:
        sheet.line("RoadAnomaly21", header, ["PIPE_REAL_DATA names no folder", *"-" * 5])
        return
    data = real_data(folder)
    for name, file in WEIGHTS.items():
        expected: list[np.ndarray] = []
        for where, amp in [(torch.device("cpu"), "none"), *((bench.device, amp) for amp in bench.amps())]:
            model = load_model(Source(name, folder / "weights" / file), where, amp)
            infer(model, data, place := next(bench.places), bench.scale.batches[0])
            store = open_store(place)
            found = [store.read("logits", image).astype(np.float32) for image in range(len(data.samples))]
            expected = expected or found
            pairs = list(zip(found, expected, strict=True))
            apart = max(float(np.abs(a - b).max()) for a, b in pairs) / float(np.std(expected[0]))
            changed = float(np.mean([(a.argmax(0) != b.argmax(0)).mean() for a, b in pairs]))
            labels = np.concatenate([_nearest(store.read("labels", i), z.shape[1:]) for i, z in enumerate(found)])
            scores = np.concatenate([anomaly({"logits": torch.from_numpy(z)[None]}) for z in found])
            auprc = average_precision_score(labels[labels <= 1] == 1, scores[labels <= 1])
            line = [name, str(where), amp, f"{apart:.1e}", f"{100 * changed:.3g} %", f"{100 * auprc:.4f}"]
            sheet.line("RoadAnomaly21 at the network's own size, float16 stores", header, line)


def _nearest(labels: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """Bring raw labels (H, W) to another size and return them flat."""
    y, x = ((np.arange(n) + 0.5) * old / n for n, old in zip(size, labels.shape, strict=True))
    return labels[y.astype(int)[:, None], x.astype(int)].ravel()


class Part(NamedTuple):
    """What is measured, and how many seconds it may take."""

    measure: Callable[[Sheet, Bench], None]
    seconds: float


PARTS = {
    "facts": Part(measure_facts, 40),
    "agreement": Part(measure_agreement, 80),
    "repeats": Part(measure_repeats, 45),
    "rates": Part(measure_rates, 130),
    "tests": Part(measure_tests, 60),
    "where": Part(measure_where, 30),
    "sharing": Part(measure_sharing, 45),
    "real": Part(measure_real, 60),
}
"""What is worth most comes first: at the end there may be no time left."""

TINY_PARTS = ("facts", "agreement", "repeats", "rates", "where")
"""Without those that start processes of their own, which take seconds to load torch."""


def main(words: Sequence[str] | None = None) -> int:
    """Measure, print and save; return how many parts were not done."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--only", type=lambda text: text.split(","), default=None, metavar="PART,...")
    parser.add_argument("--here", type=Path, help=argparse.SUPPRESS)  # in this process, with what lies in a folder
    arguments = parser.parse_args(words)
    names = arguments.only or (TINY_PARTS if arguments.tiny else list(PARTS))
    flags = ["--device", arguments.device, *(["--tiny"] if arguments.tiny else [])]
    if arguments.here:
        keep_freed_memory(heaps_beside(arguments.device))
        bench = Bench(arguments.here, choose_device(arguments.device), TINY if arguments.tiny else FULL)
        parts = {name: partial(_measured, PARTS[name], bench) for name in names}
        return run_parts(parts, arguments.here / "parts")
    with tempfile.TemporaryDirectory() as folder:
        sheet = Sheet("cuda", arguments.out)
        start = [sys.executable, "-m", "benchmarks.cuda", "--here", folder, *flags]
        limits = {name: PARTS[name].seconds for name in names}
        command = partial(_command, start)
        failed = watch(command, limits, Path(folder) / "parts", sheet, arguments.seconds)
    print(sheet.text(), flush=True)
    return failed


def _measured(part: Part, bench: Bench, sheet: Sheet) -> None:
    part.measure(sheet, bench)


def _command(start: Sequence[str], left: Sequence[str]) -> list[str]:
    return [*start, "--only", ",".join(left)]


if __name__ == "__main__":
    sys.exit(main())
