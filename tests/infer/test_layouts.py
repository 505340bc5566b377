"""Trees of each layout, made as its public loaders read them: found by looking, read as the course's layout is."""

import re
from pathlib import Path

import numpy as np
import pytest
from conftest import refused
from PIL import Image

from logitpipe.cache import PipeError, open_store
from logitpipe.console.advice import ADVICE
from logitpipe.stages.infer.data.datasets import DataSet, dataset_names, read_dataset
from logitpipe.stages.infer.data.layout import Codes, Listing, Sample
from logitpipe.stages.infer.data.layouts import LAYOUTS
from logitpipe.stages.infer.data.layouts.cityscapes import PALETTE
from logitpipe.stages.infer.data.masks import known_codes
from logitpipe.stages.infer.data.preprocess import prepare

SIZE = (6, 10)
WHICH = "say with --layout which one it is"

SEQUENCE = "01_Hanns_Klemm_Str_45"
FRAME = f"{SEQUENCE}_000000_000080"

TREES: dict[str, tuple[str, str, str]] = {
    "smiyc": (
        "dataset_AnomalyTrack/images/validation000{}.jpg",
        "dataset_AnomalyTrack/labels_masks/validation000{}_labels_semantic.png",
        "validation000{}.jpg",
    ),
    "road-anomaly": (
        "RoadAnomaly_jpg/frames/animals0{}_Calves.jpg",
        "RoadAnomaly_jpg/frames/animals0{}_Calves.labels/labels_semantic.png",
        "animals0{}_Calves.jpg",
    ),
    "lost-and-found": (
        f"LostAndFound/leftImg8bit/train/{SEQUENCE}/{FRAME[:-1]}{{}}_leftImg8bit.png",
        f"LostAndFound/gtCoarse/train/{SEQUENCE}/{FRAME[:-1]}{{}}_gtCoarse_labelIds.png",
        f"train/{SEQUENCE}/{FRAME[:-1]}{{}}_leftImg8bit.png",
    ),
    "lost-and-found-trainids": (
        f"LostAndFound/leftImg8bit/test/{SEQUENCE}/{FRAME[:-1]}{{}}_leftImg8bit.png",
        f"LostAndFound/gtCoarse/test/{SEQUENCE}/{FRAME[:-1]}{{}}_gtCoarse_labelTrainIds.png",
        f"test/{SEQUENCE}/{FRAME[:-1]}{{}}_leftImg8bit.png",
    ),
    "lost-and-found-noknown": (
        f"LostAndFound/leftImg8bit/test/{SEQUENCE}/{FRAME[:-1]}{{}}_leftImg8bit.png",
        f"LostAndFound/gtCoarse/test/{SEQUENCE}/{FRAME[:-1]}{{}}_gtCoarse_labelIds.png",
        f"test/{SEQUENCE}/{FRAME[:-1]}{{}}_leftImg8bit.png",
    ),
    "fishyscapes": (
        f"Fishyscapes/laf_images/{FRAME[:-1]}{{}}_leftImg8bit.png",
        f"Fishyscapes/fishyscapes_lostandfound/000{{0}}_{FRAME[:-1]}{{0}}_labels.png",
        f"{FRAME[:-1]}{{}}_leftImg8bit.png",
    ),
    "cityscapes": (
        "cityscapes/leftImg8bit/val/ulm/ulm_00000{}_000019_leftImg8bit.png",
        "cityscapes/gtFine/val/ulm/ulm_00000{}_000019_gtFine_labelTrainIds.png",
        "val/ulm/ulm_00000{}_000019_leftImg8bit.png",
    ),
    "cityscapes-labelids": (
        "cityscapes/leftImg8bit/val/ulm/ulm_00000{}_000019_leftImg8bit.png",
        "cityscapes/gtFine/val/ulm/ulm_00000{}_000019_gtFine_labelIds.png",
        "val/ulm/ulm_00000{}_000019_leftImg8bit.png",
    ),
    "issu": (
        "dataset_ISSUTrack/images/static_{}_009599.png",
        "dataset_ISSUTrack/labels_masks/static_{}_009599.png",
        "static_{}_009599.png",
    ),
    "street-hazards": (
        "StreetHazards/test/images/test/t5/30{}.png",
        "StreetHazards/test/annotations/test/t5/30{}.png",
        "test/t5/30{}.png",
    ),
    "street-hazards-0based": (
        "StreetHazards/images/test/t5/30{}.png",
        "StreetHazards/annotations/test/t5/30{}.png",
        "test/t5/30{}.png",
    ),
    "bdd-anomaly": (
        "bdd100k/seg/images/val/7d2f7975-e0c1c5a{}.jpg",
        "bdd100k/seg/train_labels/val/7d2f7975-e0c1c5a{}_train_id.png",
        "val/7d2f7975-e0c1c5a{}.jpg",
    ),
    "course": ("RoadAnomaly21/images/{}.png", "RoadAnomaly21/labels_masks/{}.png", "{}.png"),
    "plain": ("Mine/images/{}.webp", "Mine/labels/{}.bmp", "{}.webp"),
    "csv": ("pictures/{}.png", "truth/{}.npy", "day/{}"),
}
"""Layout -> where picture and mask number {} lie, and the sample's name."""


def codes_of(layout: str) -> list[int]:
    """Codes that occur in the masks of a layout, of every meaning that it has."""
    return sorted(known_codes(LAYOUTS[layout].codes.labels) - ({0} if layout == "street-hazards" else set()))


def write(layout: str, root: Path, numbers: range = range(3)) -> None:
    """Write a tree of a layout, and under `root / Same` the same pictures and masks as the course has them."""
    picture_at, mask_at, _ = TREES[layout]
    for number in numbers:
        noise = np.random.default_rng(number)
        picture = Image.fromarray(noise.integers(0, 256, (*SIZE, 3), dtype=np.uint8))
        codes = noise.permutation(np.resize(np.array(codes_of(layout), np.uint8), SIZE).ravel()).reshape(SIZE)
        for path, name in (
            (root / picture_at.format(number), "images"),
            (root / mask_at.format(number), "labels_masks"),
        ):
            other = root / "Same" / name / f"{number}{path.suffix if name == 'images' else '.png'}"
            for file in (path, other):
                file.parent.mkdir(parents=True, exist_ok=True)
                if file.suffix == ".npy":
                    np.save(file, codes.astype(np.int32))
                else:
                    (picture if name == "images" else Image.fromarray(codes)).save(file)
    if layout == "csv":
        lines = [f"pictures/{n}.png,truth/{n}.npy,day/{n}" for n in numbers]
        (root / "Mine.csv").write_text("\n".join(["image,mask,name", *lines]))


def arrays(dataset: DataSet) -> list[tuple[bytes, bytes]]:
    prepared = [prepare(sample, SIZE, dataset.mask_rules) for sample in dataset.samples]
    return [(each.pixels.tobytes(), each.labels.tobytes()) for each in prepared]


def only_name(root: Path, layout: str | None = None) -> str:
    (name,) = set(dataset_names(root, layout)) - {"Same"}
    return name


@pytest.mark.parametrize("layout", TREES)
def test_a_tree_is_found_and_reads_as_the_course_layout_does(tmp_path, layout):
    write(layout, tmp_path)
    by_name = layout if layout == "lost-and-found-noknown" else None
    dataset = read_dataset(tmp_path, only_name(tmp_path), layout=by_name)
    assert dataset.layout == layout
    assert [sample.name for sample in dataset.samples] == [TREES[layout][2].format(n) for n in range(3)]
    assert arrays(dataset) == arrays(read_dataset(tmp_path, "Same", layout="course"))
    assert dataset.label_codes == LAYOUTS[layout].codes.labels


def stored(path: Path) -> list[dict[str, dict[str, str]]]:
    """Of each image the digests of the chunks of its logits and its labels."""
    store = open_store(path)
    records = [store.record(image) for image in store.completed()]
    return [{name: dict(record.arrays[name].chunks) for name in ("logits", "labels")} for record in records]


@pytest.mark.slow
@pytest.mark.parametrize("layout", [*TREES, "cityscapes-colour"])
def test_a_tree_gives_the_logits_and_labels_of_the_course_layout(run, tmp_path, layout):
    """Through `pipe infer` and a network: digest by digest."""
    root = tmp_path / "trees"
    write(layout.replace("-colour", ""), root)
    if layout == "cityscapes-colour":
        colours = {code: colour for colour, code in reversed(PALETTE.items())}
        for mask in root.rglob("*_labelTrainIds.png"):
            found = [[colours[code] for code in row] for row in np.asarray(Image.open(mask)).tolist()]
            Image.fromarray(np.array(found, np.uint8)).save(str(mask).replace("labelTrainIds", "color"))
            mask.unlink()
    named = ["--layout", layout] if layout == "lost-and-found-noknown" else []
    flags = ["--data-root", str(root)]
    assert run(*flags, *named, dataset=only_name(root), out="tree").exit_code == 0
    assert run(*flags, "--layout", "course", dataset="Same", out="same").exit_code == 0
    assert open_store(tmp_path / "tree").schema.layout == layout
    found = stored(tmp_path / "tree")
    assert len(found) == 3
    assert found == stored(tmp_path / "same")


def test_every_layout_has_a_tree():
    assert set(TREES) | {"cityscapes-colour", "pictures"} == set(LAYOUTS)


def test_a_folder_of_photographs_is_taken_when_asked_for(tmp_path):
    (tmp_path / "day").mkdir()
    for name in ("b.jpg", "day/a.jpg"):
        Image.new("RGB", (4, 4)).save(tmp_path / name)
    (tmp_path / "notes.txt").touch()
    dataset = read_dataset(tmp_path, tmp_path.name, layout="pictures")
    assert [(sample.name, sample.mask) for sample in dataset.samples] == [("b.jpg", None), ("day/a.jpg", None)]


def test_coloured_masks_of_cityscapes_become_train_ids(tmp_path):
    picture = tmp_path / TREES["cityscapes"][0].format(0)
    mask = tmp_path / TREES["cityscapes"][1].format(0).replace("labelTrainIds", "color")
    for file, colours in ((picture, [[0, 0, 0], [1, 1, 1]]), (mask, [[0, 60, 100], [0, 0, 110]])):
        file.parent.mkdir(parents=True)
        Image.fromarray(np.array([colours], np.uint8)).save(file)
    dataset = read_dataset(tmp_path, "cityscapes")
    assert dataset.layout == "cityscapes-colour"
    assert prepare(dataset.samples[0], (1, 2), dataset.mask_rules).labels.tolist() == [[15, 255]]


def test_the_archive_of_segment_me_has_pictures_without_a_mask_and_coloured_masks(tmp_path):
    write("smiyc", tmp_path)
    folder = tmp_path / "dataset_AnomalyTrack"
    Image.new("RGB", SIZE[::-1]).save(folder / "images" / "cow0000.jpg")
    Image.new("RGB", SIZE[::-1], (9, 8, 7)).save(folder / "labels_masks" / "validation0001_labels_semantic_color.png")
    dataset = read_dataset(tmp_path, "dataset_AnomalyTrack")
    assert [sample.name for sample in dataset.samples if sample.mask is None] == ["cow0000.jpg"]
    assert len(dataset.samples) == 4


def test_no_known_objects_are_those_that_the_benchmark_names(tmp_path):
    folder = tmp_path / "LostAndFound"
    stems = [f"02_Street_000000_{n:06}" for n in range(20)]
    stems += ["15_Rechbergstr_Deckenpfronn_000000_000010", f"{SEQUENCE}_000006_000010", f"{SEQUENCE}_000005_000010"]
    for stem in stems:
        scene = stem[:-14]
        for kind, end in (("leftImg8bit", "leftImg8bit"), ("gtCoarse", "gtCoarse_labelIds")):
            file = folder / kind / "test" / scene / f"{stem}_{end}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (4, 4), 1).save(file)
    names = [
        each.name.rpartition("/")[2]
        for each in read_dataset(folder, "LostAndFound", layout="lost-and-found-noknown").samples
    ]
    # In the order of all names the one of scene 01, sequence 5 comes first: frame 17 is that of number 15.
    assert len(names) == 20
    assert f"{SEQUENCE}_000005_000010_leftImg8bit.png" in names
    assert "02_Street_000000_000015_leftImg8bit.png" not in names


@pytest.mark.parametrize(
    "forms",
    [
        ("0000_ulm_labels.png", "0000_ulm_rgb.png"),
        ("0000_labels.png", "0000_rgb.png"),
        ("0000_labels.png", "0000.png"),
    ],
)
@pytest.mark.parametrize("folders", [("", ""), ("fs_val_v2/", "fs_static_images_v2/")])
def test_numbered_pictures_of_fishyscapes_are_found(tmp_path, forms, folders):
    for folder, name in zip(folders, forms, strict=True):
        (tmp_path / folder).mkdir(exist_ok=True)
        Image.new("L", (4, 4)).save(tmp_path / folder / name)
    dataset = read_dataset(tmp_path, tmp_path.name)
    assert (dataset.layout, [sample.name for sample in dataset.samples]) == ("fishyscapes", [forms[1]])


def test_a_folder_of_data_sets_is_none_itself(tmp_path):
    for name in ("0000_labels.png", "0000.png"):
        (tmp_path / "FS_Static").mkdir(exist_ok=True)
        Image.new("L", (4, 4)).save(tmp_path / "FS_Static" / name)
    (tmp_path / "fishyscapes_lostandfound").mkdir()
    Image.new("L", (4, 4)).save(tmp_path / "fishyscapes_lostandfound" / "0000_a_labels.png")
    write("smiyc", tmp_path)
    assert set(dataset_names(tmp_path / "FS_Static")) == {"FS_Static"}
    assert "FS_Static" in dataset_names(tmp_path)
    assert "fishyscapes_lostandfound" not in dataset_names(tmp_path)  # masks alone are no data set


def test_the_layout_of_the_docs_is_one(tmp_path, monkeypatch):
    text = (Path(__file__).parents[2] / "docs" / "data.md").read_text()
    monkeypatch.setitem(LAYOUTS, "wilddash", None)  # so that it is taken back
    exec(re.search(r"```python\n(.*?)```", text, re.DOTALL)[1], {})
    for file in ("Wild/images/0.jpg", "Wild/semantic/0_ids.png"):
        (tmp_path / file).parent.mkdir(parents=True)
        Image.new("L", (4, 4)).save(tmp_path / file)
    dataset = read_dataset(tmp_path, "Wild", layout="wilddash")
    assert (dataset.unlabelled, dataset.label_codes) == (0, "normal=0-18,anomaly=19,void=255")


def test_a_mask_of_fishyscapes_without_its_picture_is_named(tmp_path):
    Image.new("L", (4, 4)).save(tmp_path / "0007_labels.png")
    (tmp_path / "0007_rgb.npz").touch()
    with refused(
        f"{tmp_path}: every mask needs its picture, 1 lack theirs: 0007_labels.png; {ADVICE['fishyscapes-pictures']}"
    ):
        read_dataset(tmp_path, tmp_path.name)


def test_codes_that_fit_both_kinds_of_street_hazards_need_a_name(tmp_path):
    for folder, values in (("images", [0, 0]), ("annotations", [0, 14])):
        (tmp_path / folder).mkdir()
        Image.fromarray(np.array([values], np.uint8)).save(tmp_path / folder / "0.png")
    with refused(
        f"{tmp_path}: the folder looks like several layouts: street-hazards, street-hazards-0based; {WHICH}"
    ):
        read_dataset(tmp_path, tmp_path.name)
    assert read_dataset(tmp_path, tmp_path.name, layout="street-hazards").layout == "street-hazards"


def test_masks_in_two_folders_need_a_name(tmp_path):
    for folder in ("images", "labels", "labels_masks"):
        (tmp_path / folder).mkdir()
        Image.new("L", (4, 4)).save(tmp_path / folder / "0.png")
    with refused(f"{tmp_path}: the folder looks like several layouts: course, plain; {WHICH}"):
        read_dataset(tmp_path, tmp_path.name)


def test_coarse_masks_of_cityscapes_are_not_taken_for_lost_and_found(tmp_path):
    for kind, end in (("leftImg8bit", "leftImg8bit"), ("gtCoarse", "gtCoarse_labelTrainIds")):
        (tmp_path / kind / "train_extra" / "ulm").mkdir(parents=True)
        Image.new("L", (4, 4)).save(tmp_path / kind / "train_extra" / "ulm" / f"ulm_000000_000019_{end}.png")
    with refused(f"{tmp_path}: expected a data set of a known layout, and none fits; {ADVICE['list-layouts']}"):
        read_dataset(tmp_path, tmp_path.name)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("picture,mask\na.png,", "expected the columns image,mask,name, found picture,mask"),
        ("image,mask\na.png,", "1 of its files are not there: {root}/a.png"),
        (
            "image,name\n0.png,a\n1.png,a",
            f"each name may occur once, and 'a' occurs several times; {ADVICE['csv-names']}",
        ),
        ("image,mask\n0.png,1.png,2.png", "line 2: expected a picture and as many values as there are columns"),
    ],
)
def test_a_table_that_is_none_is_refused(tmp_path, text, message):
    (tmp_path / "Mine.csv").write_text(text)
    with refused(f"{tmp_path / 'Mine.csv'}: {message.format(root=tmp_path)}"):
        read_dataset(tmp_path, "Mine")


def test_an_unknown_layout_is_refused_with_those_that_there_are(tmp_path):
    write("course", tmp_path)
    with pytest.raises(PipeError, match=r"^there is no layout 'voc'; there are smiyc, road-anomaly, .*, csv$"):
        read_dataset(tmp_path, "Same", layout="voc")


class Upright:
    """A layout from outside: pictures `N.a.png`, masks `N.b.png` beside them."""

    drawing = "N.a.png N.b.png"
    sources = ()
    codes = Codes("normal=3,anomaly=4")
    general = False

    def recognises(self, tree) -> bool:
        return any(tree.path.glob("*.a.png"))

    def listing(self, tree) -> Listing:
        return Listing(
            [Sample(path.name, path, path.with_name(path.name[0] + ".b.png")) for path in tree.path.glob("*.a.png")]
        )


def test_a_layout_from_outside_takes_part(tmp_path, monkeypatch):
    monkeypatch.setitem(LAYOUTS, "upright", Upright())
    for end in "ab":
        Image.new("L", (4, 4), 3).save(tmp_path / f"0.{end}.png")
    dataset = read_dataset(tmp_path, tmp_path.name)
    assert (dataset.layout, dataset.label_codes, dataset.samples[0].name) == (
        "upright",
        "normal=3,anomaly=4",
        "0.a.png",
    )
