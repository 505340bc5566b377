"""`pipe maps`: the right colours in the right places, one picture per image, and nothing outside its folder."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from conftest import content, fails
from PIL import Image
from reference import RULES, label, mask_score, pixel_score, upsample
from scoring import EVERY
from stores import LABEL_SIZE, fill, make_schema, noise_values

from logitpipe.cache import StoreWriter, open_store
from logitpipe.cli import cli
from logitpipe.commands.maps import STEM_LENGTH, file_name
from logitpipe.pictures import colours
from logitpipe.pictures.classes import class_colours
from logitpipe.pictures.panels import FOOTER, LEAST_WIDTH, MARGIN, TITLE, panel_size, tick_labels
from logitpipe.pictures.scored import colour_limits
from logitpipe.stages.score.labels.ground_truth import GroundTruth
from logitpipe.stages.score.passes.maps import plan_map, score_map
from logitpipe.stages.score.passes.predictions import class_names
from logitpipe.stages.score.protocols import PROTOCOLS

PANEL = (640, 480)
"""Width and height of a panel for `LABEL_SIZE`."""


def maps(store: object, *words: object, method: str = "msp", out: object = None) -> Result:
    target = Path(str(store)).parent / "out" if out is None else out
    return CliRunner().invoke(cli, ["maps", str(store), "--method", method, "--out", str(target), *map(str, words)])


@pytest.fixture
def pixel(tmp_path: Path) -> Path:
    return fill(tmp_path / "pixel", make_schema("pixel"))


def panels(file: Path, size: tuple[int, int] = PANEL) -> list[np.ndarray]:
    """The three panels of a picture: uint8 (height, width, 3)."""
    figure = np.asarray(Image.open(file))
    lefts = [MARGIN + i * (max(size[0], LEAST_WIDTH) + MARGIN) for i in range(3)]
    return [figure[TITLE : TITLE + size[1], left : left + size[0]] for left in lefts]


def cells(panel: np.ndarray) -> np.ndarray:
    """The colour in the middle of each label pixel: (*LABEL_SIZE, 3)."""
    rows, columns = (
        np.arange(n) * size // n + size // n // 2 for n, size in zip(LABEL_SIZE, panel.shape, strict=False)
    )
    return panel[rows[:, None], columns]


def test_a_large_picture_is_drawn_from_a_smaller_map(pixel):
    """Of its proportions, as if its mask had that size; a smaller picture stays as it is."""
    store = open_store(pixel)
    plan = plan_map(store.schema, PROTOCOLS["standard"], "msp", 1.0)
    truth = GroundTruth(store, plan.protocol, [0])
    whole, small = (score_map(store, plan, truth, 0, most) for most in (None, 48))
    assert (whole.labels.shape, small.labels.shape) == ((12, 16), (6, 8))
    logits, void = store.read("logits", 0), store.schema.void_class
    expected = pixel_score("msp", logits, void, 1.0, small.scores.shape, RULES["standard"])
    np.testing.assert_allclose(small.scores, expected, rtol=1e-5)
    assert np.isin(small.labels, whole.labels).all()
    np.testing.assert_array_equal(score_map(store, plan, truth, 0, 192).scores, whole.scores)


def expected_scores(path: Path, image: int, method: str, T: float, rules: str) -> np.ndarray:
    store = open_store(path)
    if store.schema.kind == "pixel":
        size = store.schema.logits_shape[1:] if RULES[rules].network_size else LABEL_SIZE
        logits = store.read("logits", image)
        return pixel_score(method, logits, store.schema.void_class, T, size, RULES[rules])
    values = (store.read("mask_logits", image), store.read("class_logits", image))
    return mask_score(method, *values, T, LABEL_SIZE, RULES[rules])


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(("kind", "method"), EVERY)
def test_maps_are_in_the_unit_of_the_formula(tmp_path, kind, method, protocol):
    store = open_store(fill(tmp_path / "store", make_schema(kind, "float32", images=["a.png"])))
    plan = plan_map(store.schema, PROTOCOLS[protocol], method, 0.7)
    found = score_map(store, plan, GroundTruth(store, plan.protocol, [0]), 0)
    scores = expected_scores(store.path, 0, method, 0.7, protocol)
    assert found.scores.shape == found.labels.shape == scores.shape
    np.testing.assert_allclose(found.scores, scores, rtol=2e-5, atol=2e-6)
    codes = Image.fromarray(store.labels(0)).resize(scores.shape[::-1], Image.Resampling.NEAREST)
    np.testing.assert_array_equal(found.labels, label(np.asarray(codes), void_is_anomaly=False))


@pytest.mark.parametrize("kind", ["pixel", "mask"])
def test_panels_show_picture_ground_truth_and_scores(tmp_path, kind):
    path = fill(tmp_path / "store", make_schema(kind))
    result = maps(path, "--temperature", "2")
    assert result.exit_code == 0
    store = open_store(path)
    for image, line in enumerate(result.stdout.splitlines()):
        assert line == f"{tmp_path}/out/000{image}_{'abc'[image]}_store_msp_T2.png"
        picture, truth, scores = panels(Path(line))
        preview = Image.fromarray(store.read("preview", image)).resize(PANEL, Image.Resampling.LANCZOS)
        np.testing.assert_array_equal(picture, preview)
        meaning = label(store.labels(image), void_is_anomaly=False)
        three = np.array([colours.NORMAL, colours.ANOMALY, colours.VOID])
        np.testing.assert_array_equal(cells(truth), three[meaning])
        expected = expected_scores(path, image, "msp", 2, "standard")
        low, high = np.percentile(expected, (1, 99))
        shown = colours.score_colours((expected - low) / (high - low)).astype(int)
        assert abs(cells(scores).astype(int) - shown).max() <= 8


@pytest.mark.parametrize("kind", ["pixel", "mask"])
def test_predicted_classes_in_their_colours(tmp_path, kind):
    path = fill(tmp_path / "store", make_schema(kind, "float32", images=["a.png"]))
    result = CliRunner().invoke(cli, ["maps", str(path), "--classes", "--out", str(tmp_path / "out")])
    assert result.stdout == f"{tmp_path}/out/0000_a_store_classes.png\n", result.stderr
    store, size = open_store(path), LABEL_SIZE
    known = [c for c in range(len(store.schema.classes)) if c != store.schema.unknown_class]
    if kind == "pixel":
        values = store.read("logits", 0).astype(float)[known]
    else:
        P = np.exp(store.read("class_logits", 0).astype(float))
        M = 1 / (1 + np.exp(-store.read("mask_logits", 0).astype(float)))
        values = np.einsum("qk,qhw->khw", (P / P.sum(axis=1, keepdims=True))[:, known], M)
    expected = upsample(values, size).argmax(axis=0)
    assert len(np.unique(expected)) > 1
    own = class_colours(class_names(store.schema))
    np.testing.assert_array_equal(cells(panels(Path(result.stdout.strip()))[2]), own[expected])


def test_colours_of_classes_are_those_of_cityscapes_and_else_far_apart():
    assert class_colours(["road", "moon"])[0].tolist() == [128, 64, 128]
    many = class_colours([f"class {number}" for number in range(150)]).astype(int)
    assert len(np.unique(many, axis=0)) == 150


def test_the_temperature_and_the_method_change_the_scores_alone(pixel):
    drawn = []
    for words in ([], ["--temperature", "0.1"], ["--method", "entropy"]):
        (line, *_) = maps(pixel, *words).stdout.splitlines()
        drawn.append(panels(Path(line)))
    pictures, truths, scores = ({panel.tobytes() for panel in column} for column in zip(*drawn, strict=True))
    assert (len(pictures), len(truths), len(scores)) == (1, 1, 3)


def test_a_method_without_temperature_ignores_it(pixel):
    outs = [pixel.parent / name for name in ("one", "other")]
    for out, T in zip(outs, ("1", "5"), strict=True):
        assert maps(pixel, "--temperature", T, method="maxlogit", out=out).exit_code == 0
    assert content(outs[0]) == content(outs[1])


def test_the_protocol_decides_the_evaluation_size_and_the_images(tmp_path):
    schema = make_schema("pixel", images=["a.png", "b.png"])
    path = fill(tmp_path / "store", schema, images=[0])
    fill(path, schema, images=[1], codes=(0, 255))
    result = maps(path, "--protocol", "course")
    assert result.exit_code == 0
    assert result.stdout == f"{tmp_path}/out/0000_a_store_msp_T1.png\n"
    line = "not drawn, as protocol course skips images without an anomaly: b.png"
    assert result.stderr.splitlines()[-1] == line
    width, height = panel_size(8, 12)
    with Image.open(tmp_path / "out" / "0000_a_store_msp_T1.png") as figure:
        assert figure.size == (3 * width + 4 * MARGIN, TITLE + height + FOOTER)


@pytest.mark.parametrize(
    ("words", "drawn"),
    [
        ([], ["0000_a", "0001_b", "0002_c"]),
        (["--limit", "2"], ["0000_a", "0001_b"]),
        (["--limit", "9"], ["0000_a", "0001_b", "0002_c"]),
        (["--images", "c.png,a.png,c.png"], ["0000_a", "0002_c"]),
    ],
)
def test_which_images_are_drawn(pixel, words, drawn):
    assert maps(pixel, *words).exit_code == 0
    assert sorted(content(pixel.parent / "out")) == [f"{name}_pixel_msp_T1.png" for name in drawn]


def test_a_name_with_a_comma_can_be_asked_for(tmp_path):
    path = fill(tmp_path / "store", make_schema("pixel", images=["a,b.png", "a"]))
    assert maps(path, "--images", "a,b.png").exit_code == 0
    assert list(content(tmp_path / "out")) == ["0000_a_b_store_msp_T1.png"]


HOSTILE = [
    "../../x.png",
    "/etc/passwd.png",
    "..\\..\\z.png",
    "a\x00b.png",
    "a\nb.png",
    "y" * 300 + ".png",
    ".png",
    "...",
]
HOSTILE += ["stra\u00dfe \u4e2d\u6587 \U0001f600.jpg", "\u202egnp.exe", "A.png", "a.png", "a.jpg", "CON"]


@pytest.mark.slow
def test_hostile_names_stay_in_the_folder_and_apart(tmp_path):
    path = fill(tmp_path / "in" / "store", make_schema("pixel", images=HOSTILE))
    before = content(tmp_path)
    result = maps(path, out=tmp_path / "in" / "out")
    assert result.exit_code == 0, result.output
    written = sorted(set(content(tmp_path)) - set(before))
    assert [name[: len("in/out/0000")] for name in written] == [f"in/out/{i:04d}" for i in range(len(HOSTILE))]
    assert all(re.fullmatch(r"in/out/\d{4}(_[\w.-]+)?\.png", name) for name in written)
    assert result.stdout.count("\n") == len(HOSTILE)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("../../x.png", "0007_x.png"),
        ("a\x00b\n.png", "0007_a_b.png"),
        ("y" * 300, f"0007_{'y' * STEM_LENGTH}.png"),
        ("stra\u00dfe 1.jpg", "0007_stra\u00dfe_1.png"),
        ("...", "0007.png"),
    ],
)
def test_file_names(name, expected):
    assert file_name(7, name.rpartition(".")[0] or name) == expected


def test_pictures_are_replaced_on_request_alone(pixel):
    maps(pixel)
    before, old = content(pixel.parent / "out"), pixel.parent / "out" / "0000_a_pixel_msp_T1.png"
    old.write_text("old")
    line = f"pipe: {old} is there already; name another place with --out, or replace it with --overwrite"
    fails(maps(pixel), line)
    assert old.read_text() == "old"
    assert maps(pixel, "--temperature", 2).exit_code == 0
    assert maps(pixel, "--overwrite").exit_code == 0
    assert content(pixel.parent / "out").items() >= before.items()


def test_an_incomplete_store_is_drawn_as_far_as_it_goes(tmp_path):
    path = fill(tmp_path / "store", make_schema("pixel"), images=[1])
    result = maps(path)
    assert (result.exit_code, result.stdout) == (3, f"{tmp_path}/out/0001_b_store_msp_T1.png\n")
    assert result.stderr.splitlines()[-1] == (
        f"pipe: {path}: 2 of 3 images were not drawn, as they are not in the store (a.png, c.png); "
        "run the same `pipe infer` again to add them"
    )
    assert maps(path, "--images", "b.png", "--overwrite").exit_code == 0


def test_damage_ends_the_drawing(pixel):
    chunk = pixel / "logits/c/1/0/0/0"
    chunk.write_bytes(chunk.read_bytes()[:-1] + b"?")
    result = maps(pixel)
    assert result.exit_code == 4
    assert f"pipe: {pixel}: image 'b.png': logits/c/1/0/0/0: checksum " in result.stderr
    assert list(content(pixel.parent / "out")) == ["0000_a_pixel_msp_T1.png"]


def test_unknown_codes_and_their_meaning(tmp_path):
    path = fill(tmp_path / "store", make_schema("pixel", images=["a.png"]), codes=(3, 4))
    result = maps(path)
    assert result.exit_code == 1
    assert "its mask holds codes that the protocol does not know: 3 (" in result.stderr
    assert maps(path, "--label-codes", "normal=3,anomaly=4").exit_code == 0
    truth = panels(tmp_path / "out" / "0000_a_store_msp_T1.png")[1]
    assert {tuple(colour) for colour in cells(truth).reshape(-1, 3)} == {colours.NORMAL, colours.ANOMALY}


INVALID = "pipe: Invalid value for "
RANGE = "a temperature is a number from 0.001 to 1000, and "


@pytest.mark.parametrize(
    ("words", "code", "line"),
    [
        (
            "--method rba",
            2,
            "pipe: --method: 'rba' cannot be computed from the pixel store of enet on Tiny; "
            "there are msp, maxlogit, entropy, energy, void",
        ),
        ("--images x", 2, "pipe: --images: there is no image 'x' in STORE; there are a.png, b.png, c.png"),
        (
            "--images a.png --limit 1",
            2,
            "pipe: --images and --limit exclude each other: name the images, or say how many",
        ),
        ("--label-codes x", 2, "pipe: --label-codes: normal=0,anomaly=1-2,void=255 is the form; found 'x'"),
        (
            "--temperature 0",
            2,
            INVALID + "'--temperature': a temperature is a number from 0.001 to 1000, and 0 is not",
        ),
        (
            "--temperature nan",
            2,
            INVALID + "'--temperature': a temperature is a number from 0.001 to 1000, and nan is not",
        ),
        ("--temperature hot", 2, INVALID + "'--temperature': 'hot' is not a valid float."),
        ("--protocol x", 2, INVALID + "'--protocol': 'x' is not one of 'standard', 'course', 'legacy'."),
        ("--out STORE/zarr.json", 2, INVALID + "'--out': Directory 'STORE/zarr.json' is a file."),
        ("--limit 0", 2, INVALID + "'--limit': 0 is not in the range x>=1."),
    ],
)
def test_wrong_usage_draws_nothing(pixel, words, code, line):
    result = maps(pixel, *words.replace("STORE", str(pixel)).split())
    fails(result, line.replace("STORE", str(pixel)), code)
    assert not (pixel.parent / "out").exists()


def test_what_is_no_store(tmp_path):
    fails(
        maps(tmp_path), f"pipe: {tmp_path}: expected a logit store, but there is no zarr.json; `pipe infer` makes one"
    )


def test_a_folder_that_cannot_be_written(pixel, tmp_path):
    (tmp_path / "file").touch()
    out = tmp_path / "file" / "out"
    result = maps(pixel, out=out)
    line = f"pipe: --out {out}: the results cannot be written (Not a directory)"
    fails(result, line)


def test_pictures_do_not_go_into_a_store(pixel):
    fails(maps(pixel, out=pixel), f"pipe: --out {pixel}: a store lies there; name another folder for the results")


@pytest.mark.parametrize("shape", [(1, 3000), (3000, 1), (1, 1)])
def test_any_proportions_can_be_drawn(tmp_path, shape):
    schema = replace(make_schema("pixel", images=["n" * 200 + ".png"]), label_shape=shape)
    values = noise_values(schema, 0, (0, 1)) | {"labels": np.zeros(shape, np.uint8)}
    StoreWriter(tmp_path / "store", schema).commit(0, values, {})
    assert maps(tmp_path / "store").exit_code == 0


def test_colour_limits_always_differ():
    assert colour_limits(np.linspace(0, 100, 101)) == (1, 99)
    assert colour_limits(np.array([0.0] * 999 + [5.0])) == (0, 5)
    assert colour_limits(np.zeros(4)) == (-0.5, 0.5)
    assert colour_limits(np.full(4, -8.0)) == (-12, -4)


def test_tick_labels_tell_the_values_apart():
    assert tick_labels([0, 0.25, 0.5]) == ["0", "0.25", "0.5"]
    assert tick_labels([12.0001, 12.0002]) == ["12.0001", "12.0002"]


def test_the_score_colours_grow_lighter_at_an_even_pace():
    rgb = colours.score_colours(np.linspace(0, 1, 256)) / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    # OKLab's lightness, from its definition: sRGB to LMS, cube root, weighted sum.
    lms = linear @ np.array(
        [
            [0.4122214708, 0.2119034982, 0.0883024619],
            [0.5363325363, 0.6806995451, 0.2817188376],
            [0.0514459929, 0.1073969566, 0.6299787005],
        ]
    )
    lightness = np.cbrt(lms) @ np.array([0.2104542553, 0.793617785, -0.0040720468])
    assert abs(lightness - np.linspace(0.16, 0.97, 256)).max() < 0.02
    assert (np.diff(lightness[::4]) > 0).all()
    np.testing.assert_array_equal(
        colours.score_colours(np.array([-1.0, 2.0])), colours.score_colours(np.array([0.0, 1.0]))
    )
