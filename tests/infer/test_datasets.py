"""Data sets on disk: found, ordered, checked by their headers, and refused in clear words."""

import hashlib
import os
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import refused, write_sample
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from logitpipe.cache import PipeError
from logitpipe.stages.infer.data.datasets import DataSet, dataset_names, natural_key, read_dataset
from logitpipe.stages.infer.data.imagefile import Header, read_header
from logitpipe.stages.infer.data.masks import read_codes
from logitpipe.stages.infer.data.preprocess import prepare
from logitpipe.stages.infer.data.selection import Selection

LISTED = "`pipe list layouts` draws them; name one with --layout"


def names(dataset: DataSet) -> list[str]:
    return [sample.name for sample in dataset.samples]


def test_a_data_set_is_ordered_by_number_and_knows_its_largest_mask(data_root):
    dataset = read_dataset(data_root, "Tiny")
    assert names(dataset) == ["0.png", "1.png", "2.png", "3.png", "10.png"]
    assert dataset.label_shape == (24, 40)
    assert dataset.samples[4].mask == data_root / "Tiny" / "labels_masks" / "10.png"


def test_the_limit_takes_the_first_pictures(data_root):
    assert names(read_dataset(data_root, "Tiny", limit=2)) == ["0.png", "1.png"]
    assert len(read_dataset(data_root, "Tiny", limit=99).samples) == 5


@given(st.lists(st.integers(0, 10**6), unique=True), st.randoms(use_true_random=False))
def test_names_are_ordered_by_the_value_of_their_numbers(numbers, shuffler: random.Random):
    shuffled = [f"frame_{number}_left.png" for number in numbers]
    shuffler.shuffle(shuffled)
    assert sorted(shuffled, key=natural_key) == [f"frame_{number}_left.png" for number in sorted(numbers)]


@pytest.mark.slow
@given(st.lists(st.text(max_size=5)))
def test_any_names_have_an_order(names):
    assert sorted(sorted(names, reverse=True), key=natural_key) == sorted(sorted(names), key=natural_key)


@pytest.mark.parametrize("on_disk", ["RoadObsticle21", "RoadObstacle21"])
@pytest.mark.parametrize("asked", ["RoadObsticle21", "RoadObstacle21"])
def test_both_spellings_mean_the_official_one(tmp_path, on_disk, asked):
    write_sample(tmp_path / on_disk, "0.png", (8, 8), seed=0)
    assert read_dataset(tmp_path, asked).name == "RoadObsticle21"
    assert dataset_names(tmp_path) == ["RoadObsticle21"]


def test_the_root_may_be_the_data_set_itself(data_root, monkeypatch):
    monkeypatch.chdir(data_root / "Tiny")
    assert len(read_dataset(data_root / "Tiny", "Tiny").samples) == 5
    assert dataset_names(Path()) == ["Tiny"]


def test_all_data_sets_under_a_root_are_found(data_root):
    write_sample(data_root / "Another", "0.jpg", (8, 8), seed=0)
    (data_root / "notes").mkdir()
    assert dataset_names(data_root) == ["Another", "Tiny"]


def test_files_of_the_system_are_ignored(data_root):
    for name in (".DS_Store", "Thumbs.db", "._0.png", "desktop.ini"):
        (data_root / "Tiny" / "images" / name).write_bytes(b"\0")
    assert len(read_dataset(data_root, "Tiny").samples) == 5


@pytest.mark.skipif(os.name == "nt", reason="symbolic links need a privilege on Windows")
def test_links_to_files_are_files(data_root, tmp_path):
    linked = tmp_path / "linked" / "Tiny"
    for folder in ("images", "labels_masks"):
        (linked / folder).mkdir(parents=True)
        for file in (data_root / "Tiny" / folder).iterdir():
            (linked / folder / file.name).symlink_to(file)
    assert names(read_dataset(tmp_path / "linked", "Tiny")) == names(read_dataset(data_root, "Tiny"))


def test_webp_masks_are_found(data_root):
    mask = data_root / "Tiny" / "labels_masks" / "1.png"
    expected = read_codes(mask)
    Image.open(mask).save(mask.with_suffix(".webp"), lossless=True)
    mask.unlink()
    assert np.array_equal(read_codes(read_dataset(data_root, "Tiny").samples[1].mask), expected)


def test_a_missing_root_is_named(tmp_path):
    with refused(f"--data-root {tmp_path / 'nowhere'}: expected a folder, there is none"):
        dataset_names(tmp_path / "nowhere")


def test_a_root_without_data_sets_says_what_it_holds(tmp_path):
    with refused(f"{tmp_path}: expected data sets in it, each of a known layout, found nothing; {LISTED}"):
        dataset_names(tmp_path)


def test_a_missing_data_set_says_what_is_there(data_root):
    with refused(f"--dataset tiny: expected the folder {data_root / 'tiny'}; {data_root} holds Tiny"):
        read_dataset(data_root, "tiny")


def test_an_empty_data_set_is_refused(tmp_path):
    images = tmp_path / "Empty" / "images"
    images.mkdir(parents=True)
    (images / ".DS_Store").touch()
    with refused(f"{tmp_path / 'Empty'}: expected pictures in the layout course, there are none"):
        read_dataset(tmp_path, "Empty")


def test_a_picture_that_is_none_is_named(data_root):
    notes = data_root / "Tiny" / "images" / "notes.png"
    notes.write_text("to do")
    with refused(
        f"{notes}: expected an image (PNG, JPEG, WEBP, TIFF, BMP, PPM), and this file is none; "
        "take it out or fetch it anew"
    ):
        read_dataset(data_root, "Tiny")


def test_foreign_files_are_passed_over_and_counted(data_root):
    images = data_root / "Tiny" / "images"
    for name in ("notes.txt", "0.png:Zone.Identifier", "list.json"):
        (images / name).write_text("to do")
    (images / "@eaDir").mkdir()
    (images / "@eaDir" / "0.png").write_text("a thumbnail")
    dataset = read_dataset(data_root, "Tiny")
    assert len(dataset.samples) == 5
    assert dataset.remarks == (
        "passed over, as they are no pictures: 4 files, images/0.png:Zone.Identifier, images/@eaDir, "
        "images/list.json, and 1 more",
    )


def test_a_name_is_the_path_below_the_pictures(data_root):
    folder = data_root / "Tiny"
    for kind in ("images", "labels_masks"):
        (folder / kind / "night").mkdir()
        (folder / kind / "2.png").rename(folder / kind / "night" / "2.png")
    dataset = read_dataset(data_root, "Tiny")
    assert names(dataset) == ["0.png", "1.png", "3.png", "10.png", "night/2.png"]
    assert dataset.samples[4].mask == folder / "labels_masks" / "night" / "2.png"


def test_a_folder_with_the_name_of_a_picture_is_refused(data_root):
    images = data_root / "Tiny" / "images"
    (images / "more.png").mkdir()
    with refused(f"{images / 'more.png'}: expected nothing but pictures in {images}, this is no file; take it out"):
        read_dataset(data_root, "Tiny")


@pytest.mark.skipif(os.name == "nt", reason="symbolic links need a privilege on Windows")
def test_links_in_a_circle_end(data_root):
    images = data_root / "Tiny" / "images"
    (images / "more").symlink_to(images)
    with refused(f"{images / 'more'}: this link leads back to a folder above it; take it out"):
        read_dataset(data_root, "Tiny")


@pytest.mark.parametrize(("first", "second"), [("a.jpg", "a.png"), ("A.png", "a.png"), ("A.jpg", "a.png")])
def test_two_pictures_may_not_share_a_mask(tmp_path, first, second):
    for name in (first, second):
        write_sample(tmp_path / "Twins", name, (8, 8), seed=0)
    if len(list((tmp_path / "Twins" / "images").iterdir())) < 2:
        pytest.skip("this file system ignores case")
    with refused(
        f"{tmp_path / 'Twins' / 'images'}: each picture needs a mask of its own, but {first} and {second} "
        "differ only in ending, case or Unicode form; rename or remove one"
    ):
        read_dataset(tmp_path, "Twins")


def test_pictures_without_a_mask_are_counted(data_root):
    for number in (0, 3):
        (data_root / "Tiny" / "labels_masks" / f"{number}.png").unlink()
    dataset = read_dataset(data_root, "Tiny")
    assert [sample.name for sample in dataset.samples if sample.mask is None] == ["0.png", "3.png"]
    assert dataset.unlabelled == 2
    assert dataset.label_shape == (24, 40)
    assert dataset.remarks == ("2 of 5 pictures have no mask: 0.png, 3.png",)


def test_a_data_set_may_have_no_mask_at_all(data_root):
    shutil.rmtree(data_root / "Tiny" / "labels_masks")
    dataset = read_dataset(data_root, "Tiny")
    assert (dataset.unlabelled, dataset.label_shape) == (5, (0, 0))


def test_a_mask_of_nearly_the_right_name_is_named(data_root):
    masks = data_root / "Tiny" / "labels_masks"
    (masks / "3.png").rename(masks / "3_gt.png")
    with refused(
        f"{data_root / 'Tiny'}: masks bear other names than the layout course has, 1 of them: "
        "3.png has none, and labels_masks/3_gt.png lies there; rename them, or name the layout that has such names "
        "with --layout"
    ):
        read_dataset(data_root, "Tiny")


@pytest.mark.parametrize("ending", [".PNG", ".bmp", ".tif", ".TIFF", ".npy"])
def test_masks_of_any_lossless_kind_are_found(data_root, ending):
    mask = data_root / "Tiny" / "labels_masks" / "1.png"
    expected = read_codes(mask)
    mask.unlink()
    if ending == ".npy":
        np.save(mask.with_suffix(ending), expected.astype(np.int64))
    else:
        Image.fromarray(expected).save(mask.with_suffix(ending))
    sample = read_dataset(data_root, "Tiny").samples[1]
    assert np.array_equal(prepare(sample, (16, 32)).labels, expected)


def test_masks_of_half_the_size_are_resampled_only_when_asked(data_root):
    mask = data_root / "Tiny" / "labels_masks" / "1.png"
    small = read_codes(mask)[::2, ::2]
    Image.fromarray(small).save(mask)
    with pytest.raises(PipeError, match=r"1.png is 20x36, labels_masks/1.png is 10x18$") as refusal:
        read_dataset(data_root, "Tiny")
    assert refusal.value.remedy == "mask-resize"
    dataset = read_dataset(data_root, "Tiny", mask_resize=True)
    prepared = prepare(dataset.samples[1], (16, 32), dataset.mask_rules)
    assert np.array_equal(prepared.labels, small.repeat(2, axis=0).repeat(2, axis=1))


def test_an_orientation_is_named(data_root):
    exif = Image.Exif()
    exif[0x0112] = 6
    picture = data_root / "Tiny" / "images" / "1.png"
    Image.open(picture).save(picture, exif=exif)
    assert read_dataset(data_root, "Tiny").remarks == (
        "an EXIF orientation other than 1 is not applied, neither to picture nor mask: 1.png has 6",
    )


def test_headers_are_read_as_pillow_reads_them(tmp_path):
    noise = Image.effect_noise((37, 21), 50).convert("RGB")
    for name, form, options in (
        ("a", "PNG", {}),
        ("b", "PNG", {"icc_profile": b"x" * 200}),
        ("c", "JPEG", {}),
        ("d", "JPEG", {"progressive": True, "comment": b"x" * 9000}),
        ("e", "WEBP", {}),
        ("f", "TIFF", {}),
        ("g", "PPM", {}),
    ):
        noise.save(tmp_path / name, form, **options)
        assert read_header(tmp_path / name) == Header((21, 37)), name


def test_pictures_are_chosen_by_name_list_and_mask(data_root, tmp_path):
    (data_root / "Tiny" / "labels_masks" / "3.png").unlink()
    listed = tmp_path / "list.txt"
    listed.write_text("10.png\n3\n\n1.png\n")
    chosen = read_dataset(data_root, "Tiny", selection=Selection(globs=("1*", "3*")))
    assert (names(chosen), chosen.selection, chosen.limit) == (
        ["1.png", "3.png", "10.png"],
        "names like 1* or 3*",
        None,
    )
    chosen = read_dataset(data_root, "Tiny", selection=Selection(names_file=listed, labelled_only=True, limit=1))
    digest = hashlib.sha256(listed.read_bytes()).hexdigest()[:16]
    assert (names(chosen), chosen.limit) == (["1.png"], 1)
    assert chosen.selection == f"names in list.txt (sha256 {digest}), with a mask"
    assert read_dataset(data_root, "Tiny", selection=Selection(limit=9)).limit is None


def test_a_choice_of_nothing_is_refused(data_root, tmp_path):
    folder = data_root / "Tiny"
    with refused(f"{folder}: no picture is called x*; the names are 0.png, 1.png, 2.png ..."):
        read_dataset(data_root, "Tiny", selection=Selection(globs=("x*",)))
    listed = tmp_path / "list.txt"
    listed.write_text("0.png\n7.png\n")
    with refused(f"{listed}: 1 of its 2 names are none of {folder}: 7.png"):
        read_dataset(data_root, "Tiny", selection=Selection(names_file=listed))


def test_a_mask_of_another_size_is_refused_with_both_sizes(data_root):
    folder = data_root / "Tiny"
    Image.new("L", (7, 5)).save(folder / "labels_masks" / "2.png")
    with refused(
        f"{folder}: every mask must be of its picture's size (HxW), 1 not so: "
        "2.png is 24x40, labels_masks/2.png is 5x7"
    ):
        read_dataset(data_root, "Tiny")


@pytest.mark.parametrize("limit", [600, 300])  # Pillow warns above its limit and raises above twice as much
def test_a_picture_over_the_pixel_limit_is_refused(data_root, monkeypatch, limit):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    picture = data_root / "Tiny" / "images" / "0.png"
    with refused(
        f"{picture}: an image may have at most {limit} pixels, and this one has more; "
        "allow more with --max-pixels, reduce it, or take it out of the data set"
    ):
        read_dataset(data_root, "Tiny")


@pytest.mark.parametrize(
    ("name", "count", "shape"), [("RoadAnomaly21", 10, (720, 1280)), ("fs_static", 30, (1024, 2048))]
)
def test_the_real_data_sets_are_read(real_data, name, count, shape):
    dataset = read_dataset(real_data, name)
    assert names(dataset)[:3] == [f"{i}{dataset.samples[0].image.suffix}" for i in range(3)]
    assert (len(dataset.samples), dataset.label_shape) == (count, shape)
    assert set(np.unique(read_codes(dataset.samples[0].mask))) <= {0, 1, 255}
