"""`pipe demo` as a newcomer calls it: once in full with the weights that it carries, and what can go wrong."""

import hashlib
import json
import re
import shlex
import shutil
import sys
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from conftest import content, fails
from test_python_page import run_blocks
from test_readme import README, assert_same

from logitpipe.cache import open_store
from logitpipe.cli import cli
from logitpipe.commands.demo import NETWORKS, NOTE, demo_commands
from logitpipe.demo import dataset, kernels
from logitpipe.demo.dataset import CLOSED, COUNT, WEIGHTS
from logitpipe.demo.scenes.scene import draw_scene
from logitpipe.stages.score.methods import METHODS

TEMPERATURES = 10
LEAST_MEAN_IOU = {"erfnet": 0.6, "eomt": 0.5}
AUPRC_OVER_SHARE = 5
LARGEST_WEIGHTS = 12e6
DATED = ("results/settings.json", "results-classes/settings.json", "results/report.html")


def call(out: Path) -> Result:
    """Run the demo in a folder."""
    return CliRunner().invoke(cli, ["demo", "--out", str(out)])


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    """Give the folder of a demo in full, and how the command ended."""
    out = tmp_path_factory.mktemp("empty") / "demo"
    return out, call(out)


@pytest.fixture(scope="module")
def rows(finished) -> list[dict]:
    return json.loads((finished[0] / "results" / "results.json").read_text())["results"]


@pytest.fixture
def two_scenes(monkeypatch):
    monkeypatch.setattr(dataset, "COUNT", 2)
    monkeypatch.setattr(dataset, "CLOSED_COUNT", 1)
    monkeypatch.setattr(kernels, "compiled_beside", nullcontext)  # they are compiled already


@pytest.fixture
def small(request, small_demos) -> Path:
    """Give the folder of a demo of two scenes, which each test leaves as it was."""
    request.getfixturevalue("two_scenes")
    if not small_demos.exists():
        assert call(small_demos).exit_code == 0
    return small_demos


@pytest.fixture(scope="module")
def small_demos(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("small") / "demo"


@pytest.mark.slow
def test_it_ends_well_and_prints_the_table(finished):
    out, result = finished
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith(f"DemoScenes, protocol standard, per cent ({COUNT} images, ")
    assert sorted(path.name for path in out.parent.iterdir()) == ["demo"]


@pytest.mark.slow
def test_the_table_is_the_one_in_the_readme(finished):
    """Word for word, but for the last digit, in which processors differ, and what follows the table."""
    printed = re.search(r"<!-- demo -->\n```text\n(.*?)```", README, re.DOTALL)
    assert printed
    words = printed[1].split()
    assert len(words) > 100
    assert_same(printed[1], " ".join(finished[1].stdout.split()[: len(words)]))


@pytest.mark.slow
def test_the_page_for_python_runs_beside_it(small, tmp_path, monkeypatch, capsys):
    (tmp_path / "logitpipe-demo").symlink_to(small)
    monkeypatch.chdir(tmp_path)
    run_blocks()
    printed = capsys.readouterr().out
    assert "pixel erfnet DemoScenes 2" in printed
    assert "standard+fpr=linear+skip-without-anomaly=yes" in printed
    assert "methods: 'entropie' is no method" in printed
    made = {"00.png", "sweep.pdf", "ranking.png", "my-results", "first-scenes.zarr", "mine.zarr"}
    assert made <= {path.name for path in tmp_path.iterdir()}


@pytest.mark.slow
def test_every_method_is_scored_at_every_temperature(rows):
    core = [method for kind in METHODS.values() for method in kind.values() if method.core]
    assert len(rows) == sum(TEMPERATURES if method.temperature else 1 for method in core)
    assert {row["network"] for row in rows} == set(NETWORKS)
    assert all(row["images"] == COUNT for row in rows)


@pytest.mark.slow
def test_the_commands_that_it_prints_are_those_that_it_runs(finished):
    out, result = finished
    printed = [line for line in result.stderr.splitlines() if line.startswith("$ pipe ")]
    assert [shlex.split(line)[2:] for line in printed] == demo_commands(out)
    assert (out / NOTE).read_text() == "Made by `pipe demo`, which ran:\n\n" + "".join(
        f"{line}\n" for line in printed
    )
    typed = CliRunner().invoke(cli, demo_commands(out)[0])
    assert typed.exit_code == 0
    assert f"DemoScenes: {COUNT} of {COUNT} images (0 new, {COUNT} already there)" in typed.stderr


def test_the_weights_are_small_and_their_card_tells_their_digests():
    files = [WEIGHTS / f"{network}.safetensors" for network in NETWORKS]
    assert sum(file.stat().st_size for file in files) <= LARGEST_WEIGHTS
    card = (WEIGHTS / "README.md").read_text()
    assert set(re.findall(r"\b[0-9a-f]{64}\b", card)) == {
        hashlib.sha256(file.read_bytes()).hexdigest() for file in files
    }


def found_classes(store: Path, kind: str, image: int) -> np.ndarray:
    """The most likely class of each pixel of a scene."""
    import torch
    from torch.nn import functional

    opened = open_store(store)
    if kind == "pixel":
        return opened.read("logits", image)[:19].argmax(0)
    masks, classes = (torch.from_numpy(opened.read(name, image)).float() for name in ("mask_logits", "class_logits"))
    S = torch.einsum("qk,qhw->khw", classes.softmax(1)[:, :19], masks.sigmoid())
    return functional.interpolate(S[None], (256, 512), mode="bilinear")[0].argmax(0).numpy()


@pytest.mark.slow
@pytest.mark.parametrize(("network", "kind"), [("erfnet", "pixel"), ("eomt", "mask")])
def test_the_networks_know_the_classes(finished, network, kind):
    """Mean IoU over the pixels that belong to a class."""
    counts = np.zeros((19, 19), np.int64)
    for image in range(COUNT):
        truth = draw_scene(image, anomalies=True).classes
        found = found_classes(finished[0] / "stores" / f"{network}.zarr", kind, image)
        known = truth < 19
        np.add.at(counts, (truth[known], found[known]), 1)
    hits = counts.diagonal()
    iou = hits / (counts.sum(0) + counts.sum(1) - hits)
    print(f"{network}: mean IoU {iou.mean():.4f}")
    assert iou.mean() >= LEAST_MEAN_IOU[network]


@pytest.mark.slow
def test_the_closed_set_is_shown(finished):
    """19 classes on scenes without anomalies; the fitted temperature beside the one that the test would choose."""
    out, result = finished
    rows = json.loads((out / "results-classes" / "closed_set.json").read_text())["closed_set"]
    assert {(row["network"], row["dataset"]) for row in rows} == {(net, name) for net in NETWORKS for name in CLOSED}
    for row in rows:
        if row["temperature"] == 1:
            assert sum(name.startswith("iou_") for name in row) == 19
            assert row["miou"] >= LEAST_MEAN_IOU[row["network"]]
    table = result.stdout.partition("Fitted temperatures: ")[2]
    assert [line.split()[:3] for line in table.splitlines() if "NLL" in line][:4] == [
        [net, *names] for net in NETWORKS for names in (CLOSED, CLOSED[::-1])
    ]
    page = (out / "results" / "report.html").read_text()
    assert 'id="benchmarks"' in page
    overview = page.partition('id="overview"')[2].partition('id="data-0"')[0]
    assert "DemoScenes" in overview
    assert "DemoFit" not in overview  # it has no anomaly, and so no AuPRC


@pytest.mark.slow
@pytest.mark.parametrize("network", NETWORKS)
def test_a_method_finds_the_anomalies(rows, network):
    own = [row for row in rows if row["network"] == network]
    share = own[0]["positives"] / own[0]["pixels"]
    best = max(own, key=lambda row: row["auprc"])
    print(f"{network}: {best['method']} at T = {best['temperature']}: AuPRC {best['auprc']:.4f}, share {share:.4f}")
    assert best["auprc"] >= AUPRC_OVER_SHARE * share


@pytest.mark.slow
def test_the_temperature_matters(rows):
    """For at least one method the best temperature's AuPRC is a fifth above the worst's."""
    ratios = {}
    for network, method in {(row["network"], row["method"]) for row in rows}:
        found = [row["auprc"] for row in rows if (row["network"], row["method"]) == (network, method)]
        ratios[network, method] = max(found) / min(found)
    print(max(ratios.items(), key=lambda item: item[1]))
    assert max(ratios.values()) > 1.2


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["pixel", "mask"])
def test_what_compiles_beside_the_networks_scores_to_its_end(kind):
    """Nobody sees its errors: the demo would only take longer."""
    kernels.compile_kernels(kind)


def lasting(out: Path) -> dict[str, bytes]:
    """Every file of a demo but those that name the time of their making."""
    return {name: data for name, data in content(out).items() if name not in DATED}


@pytest.mark.slow
def test_the_same_command_again_goes_on(small):
    whole = lasting(small)
    shutil.rmtree(small / "stores" / "eomt.zarr")
    shutil.rmtree(small / "results")
    (small / "data" / "DemoScenes" / "images" / "01.png").unlink()
    result = call(small)
    assert result.exit_code == 0
    assert "DemoScenes: 2 of 2 images (0 new, 2 already there)" in result.stderr
    assert "DemoScenes: 2 of 2 images (2 new, 0 already there)" in result.stderr
    again = lasting(small)  # but for the date of the picture that was drawn again
    drawn = "stores/eomt.zarr/records/1.json"
    assert again.pop(drawn) != whole.pop(drawn)
    assert again == whole
    assert (small / "results" / "report.html").exists()


def test_a_folder_with_something_else_in_it_is_left_alone(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mine.txt").write_text("mine")
    fails(
        call(tmp_path),
        f"pipe: --out must name a new or empty folder, or one of an earlier demo; {tmp_path} holds something else. "
        "Name another",
    )
    assert content(tmp_path) == {"data/mine.txt": b"mine"}


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    out = tmp_path / "file" / "demo"
    fails(call(out), f"pipe: --out {out}: the demo cannot be written (Not a directory); name another folder")


@pytest.mark.usefixtures("two_scenes")
def test_a_machine_without_torch_is_told_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "logitpipe.stages.infer.device.device", raising=False)
    fails(
        call(tmp_path / "demo"),
        "pipe: a network needs torch, which is not installed; run pip install '.[infer]' in the project's folder",
    )


@pytest.mark.usefixtures("two_scenes")
def test_a_command_that_fails_ends_the_demo(tmp_path):
    (tmp_path / NOTE).write_text("")
    store = tmp_path / "stores" / "erfnet.zarr"
    store.mkdir(parents=True)
    (store / "mine.txt").write_text("mine")
    fails(
        call(tmp_path),
        f"pipe: {store}: a store can only be made where nothing or an empty folder lies, "
        "and not in the working folder itself; choose another --out",
    )
    assert not (tmp_path / "results").exists()
