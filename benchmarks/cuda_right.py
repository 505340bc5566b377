"""Whether `pipe infer` is right on a device: parts of `benchmarks.cuda`."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from sklearn.metrics import average_precision_score
from torch import Tensor

from benchmarks.cuda_made import ROOT, Bench, golden_rule, infer
from benchmarks.cuda_rates import content, measure_rates, measure_sharing, measure_where, shard
from benchmarks.real import WEIGHTS, real_data, real_folder
from benchmarks.sheet import Sheet
from logitpipe.cache import open_store
from logitpipe.stages.infer.describe import software
from logitpipe.stages.infer.model import Model, load_model
from logitpipe.stages.infer.networks.seam import Source

SHARE_OF_ANOMALY = 0.05
OUTLIERS = {"enet": 1e-3}
"""Share of logits that may lie beyond the bar: of two values of a pooling window that are all but equal, ENet takes
the place of the larger one, and other rounding may take the other's."""

BAR: float = golden_rule.BAR
LINES_OF_PYTEST = 12
SAME = "Is the store the same, byte for byte? Of one model of GPU it must be; of another one it need not"


def measure_facts(bench: Bench, sheet: Sheet) -> None:
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


def measure_tests(_bench: Bench, sheet: Sheet) -> None:
    """Run the tests that need a GPU: their files alone, as other tests need libraries that a GPU machine may lack."""
    files = [str(file) for file in sorted((ROOT / "tests").rglob("test_*.py")) if "mark.gpu" in file.read_text()]
    # What libraries warn of on another machine is no fault of ours.
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider", "-W", "default", *files]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    for said in (done.stdout + done.stderr).strip().splitlines()[-LINES_OF_PYTEST:]:
        sheet.line("Tests marked gpu", ("what pytest says last",), [said[:300]])


def measure_agreement(bench: Bench, sheet: Sheet) -> None:
    """Logits of the device beside those of the CPU, and what lower precision changes."""
    title = f"Logits of {bench.device} beside float32 on the CPU, of made weights"
    beyond = f"share beyond {BAR:g}"
    header = ("network", "amp", "largest difference / std", beyond, "agrees", "argmax changed", "AuPRC moved, %")
    for name in bench.scale.sizes:
        images = golden_rule.golden_images(*bench.scale.sizes[name])
        expected = logits(bench.model(name, torch.device("cpu")), images)
        model = bench.model(name)
        score = anomaly(expected)
        noise = np.random.default_rng(0).standard_normal(score.size) * score.std()
        # Labels that a score finds some of: of made weights none would find those of made pictures.
        labels = score + noise > np.quantile(score + noise, 1 - SHARE_OF_ANOMALY)
        before = average_precision_score(labels, score)
        for amp in bench.amps():
            found = logits(replace(model, amp=amp), images)
            differences = [(found[key] - z).abs() / z.std() for key, z in expected.items()]
            apart = max(float(each.max()) for each in differences)
            share = max(float((each > BAR).float().mean()) for each in differences)
            change = average_precision_score(labels, anomaly(found)) - before
            verdict = ("yes" if share <= OUTLIERS.get(name, 0) else "NO") if amp == "none" else "-"
            moved = _argmax_changed(found, expected), f"{100 * change:+.2g}"
            sheet.line(title, header, [name, amp, f"{apart:.1e}", f"{share:.1e}", verdict, *moved])


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


def measure_repeats(bench: Bench, sheet: Sheet) -> None:
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


def measure_real(bench: Bench, sheet: Sheet) -> None:
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


PARTS: dict[str, Callable[[Bench, Sheet], None]] = {
    "facts": measure_facts,
    "agreement": measure_agreement,
    "repeats": measure_repeats,
    "rates": measure_rates,
    "tests": measure_tests,
    "where": measure_where,
    "sharing": measure_sharing,
    "real": measure_real,
}
"""What `benchmarks.cuda.LIMITS` names."""
