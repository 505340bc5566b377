"""What a store knows of its data set, from `pipe infer` to the figures: codes, choices, pictures without a mask."""

import json

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from logitpipe.cache import open_store
from logitpipe.cli import cli


def pipe(*words: object) -> Result:
    result = CliRunner().invoke(cli, list(map(str, words)))
    assert result.exit_code == 0, result.stderr
    return result


def rows(*words: object) -> list[dict]:
    return json.loads(pipe("score", *words, "--methods", "msp", "--json").stdout)["results"]


def test_pictures_without_a_mask_are_stored_and_drawn_and_count_nowhere(run, data_root, tmp_path):
    masks = data_root / "Tiny" / "labels_masks"
    aside = tmp_path / "aside"
    aside.mkdir()
    for name in ("1.png", "10.png"):
        (masks / name).rename(aside / name)
    result = run()
    assert result.exit_code == 0
    assert "Tiny: 2 of 5 pictures have no mask: 1.png, 10.png" in result.stderr.splitlines()
    assert run("--labelled-only", out="labelled").exit_code == 0
    store = open_store(tmp_path / "store")
    assert [store.labels(image).shape for image in range(5)] == [(24, 40), (0, 0), (24, 40), (16, 32), (0, 0)]
    scored = pipe("score", store.path, "--methods", "msp", "--json")
    line = f"{store.path}: 2 of 5 pictures have no mask and are left out of the figures: 1.png, 10.png"
    assert line in scored.stderr.splitlines()
    (all_pictures,), (labelled,) = json.loads(scored.stdout)["results"], rows(tmp_path / "labelled")
    assert (all_pictures["images"], all_pictures["auprc"]) == (3, labelled["auprc"])
    assert labelled["dataset"] == "Tiny (with a mask)"
    drawn = pipe("maps", store.path, "--method", "msp", "--out", tmp_path / "maps").stdout.splitlines()
    assert len(drawn) == 5
    pipe("export", store.path, "--method", "msp", "--format", "npy", "--out", tmp_path / "maps")
    sizes = {np.load(file).shape for file in (tmp_path / "maps").rglob("*.npy")}
    assert sizes == {(24, 40), (20, 36), (16, 32)}  # the second is that of a picture without a mask


def test_a_data_set_without_any_mask_is_stored(run, data_root, tmp_path):
    for mask in (data_root / "Tiny" / "labels_masks").iterdir():
        mask.unlink()
    assert run().exit_code == 0
    (row,) = rows(tmp_path / "store")
    assert (row["images"], row["auprc"]) == (0, None)


def test_a_choice_is_said_wherever_figures_stand(run, tmp_path):
    assert run("--images", "1*", "--limit", "1").exit_code == 0
    store = open_store(tmp_path / "store")
    assert (store.schema.selection, store.schema.limit) == ("names like 1*", 1)
    assert store.schema.images == ("1.png",)
    assert rows(store.path)[0]["dataset"] == "Tiny (names like 1*, the first 1)"
    shown = " ".join(pipe("show", store.path).stdout.split())
    assert "data set Tiny, layout course, names like 1*, the first 1" in shown
    table = pipe("score", store.path, "--methods", "msp").stdout
    assert table.startswith("Tiny (names like 1*, the first 1), protocol standard")
    other = run("--images", "2*", "--limit", "1")
    assert other.exit_code == 1
    assert "selection" in other.stderr


@pytest.fixture
def two_layouts(run, data_root, tmp_path):
    """Stores of Lost and Found and of StreetHazards, made of the same pictures; masks of the codes of each."""
    trees = {
        "LostAndFound": (
            "leftImg8bit/test/01_A/01_A_0_{}_leftImg8bit.png",
            "gtCoarse/test/01_A/01_A_0_{}_gtCoarse_labelIds.png",
        ),
        "StreetHazards": ("images/test/t5/{}.png", "annotations/test/t5/{}.png"),
    }
    codes = {"LostAndFound": [0, 1, 1, 2, 30], "StreetHazards": [1, 7, 7, 13, 14]}
    for name, paths in trees.items():
        for number in range(2):
            noise = np.random.default_rng(number)
            values = noise.integers(0, 256, (16, 32, 3)), noise.choice(codes[name], (16, 32))
            for path, array in zip(paths, values, strict=True):
                file = data_root / name / path.format(number)
                file.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(array.astype(np.uint8)).save(file)
        assert run(dataset=name, out=name).exit_code == 0
    return tmp_path / "LostAndFound", tmp_path / "StreetHazards"


def test_each_store_brings_its_own_codes(two_layouts):
    found, hazards = rows(*two_layouts)
    assert hazards["pixels"] == 2 * 16 * 32
    assert found["pixels"] == sum((open_store(two_layouts[0]).labels(image) > 0).sum() for image in range(2))
    told = rows(*two_layouts, "--label-codes", "StreetHazards:normal=1-12,anomaly=13,void=14")
    assert told[0] == found
    assert told[1]["pixels"] < hazards["pixels"]
    assert rows(*two_layouts, "--set", "label-codes=normal=1,anomaly=2-200,void=0+255")[0]["auprc"] == found["auprc"]
