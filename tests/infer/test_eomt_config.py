"""A training's yaml file beside EoMT weights: where it agrees, contradicts, or says what the weights do not."""

import json

import pytest
import torch
from golden_rule import BLOCKS, CLASSES, QUERIES, SMALL_EOMT, eomt_weights, golden_images, outputs

from logitpipe.cache.errors import PipeError
from logitpipe.stages.infer.networks.eomt.config import load_config
from logitpipe.stages.infer.networks.eomt.network import build

SIZE = (32, 96)

CONFIG = """
model:
  class_path: training.mask_classification_semantic.MaskClassificationSemantic
  init_args:
    attn_mask_annealing_enabled: True
    network:
      class_path: models.eomt.EoMT
      init_args: {network}
data:
  class_path: datasets.cityscapes_semantic.CityscapesSemantic
  init_args: {data}
"""


def config_file(folder, backbone_name=None, patch_size=None, num_classes=None, img_size=None, **network):
    encoder = {"backbone_name": backbone_name, "patch_size": patch_size}
    network["encoder"] = {"class_path": "models.vit.ViT", "init_args": _given(encoder)}
    data = _given({"num_classes": num_classes, "img_size": img_size})
    path = folder / "config.yaml"
    path.write_text(CONFIG.format(network=json.dumps(network), data=json.dumps(data)))
    return load_config(path)


def _given(options):
    return {name: value for name, value in options.items() if value is not None}


def test_img_size_of_the_config_tells_the_grid(tmp_path):
    state = eomt_weights(grid=(3, 4))
    with pytest.raises(PipeError, match="12 positions, which is none of 2x4 or 3x3"):
        build(state, (32, 64))
    network = build(state, (32, 64), config_file(tmp_path, img_size=[48, 64]))
    assert network.encoder.backbone.grid == (2, 4)


def test_img_size_has_two_sides(tmp_path):
    with pytest.raises(PipeError, match=r"img_size must be two whole numbers.*640"):
        build(eomt_weights(), SIZE, config_file(tmp_path, img_size=640))


def test_a_config_that_agrees(tmp_path):
    config = config_file(
        tmp_path,
        num_q=QUERIES,
        num_blocks=BLOCKS,
        masked_attn_enabled=True,
        patch_size=16,
        num_classes=CLASSES,
        img_size=[64, 64],
        backbone_name="vit_of_another_kind",
    )
    assert build(eomt_weights(), SIZE, config).facts == SMALL_EOMT


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        ({"num_q": 100}, r"num_q is 100 in the config, and the weights have queries 7"),
        ({"num_blocks": 4}, r"num_blocks is 4 in the config, and the weights have query_blocks 3"),
        ({"num_classes": 19}, r"num_classes is 19 in the config, and the weights have classes 4"),
        ({"patch_size": 14}, r"patch_size is 14 in the config, and the weights have patch_size 16"),
        (
            {"backbone_name": "vit_base_patch14_reg4_dinov2"},
            r"vit_base_patch14_reg4_dinov2, width is 768 in the config, and the weights have width 128",
        ),
    ],
    ids=lambda value: str(value)[:24],
)
def test_a_config_that_contradicts_names_both(tmp_path, stated, message):
    with pytest.raises(PipeError, match=message):
        build(eomt_weights(), SIZE, config_file(tmp_path, **stated))


def test_a_config_without_masks_contradicts_weights_with_them(tmp_path):
    config = config_file(tmp_path, masked_attn_enabled=False)
    with pytest.raises(PipeError, match=r"masked_attn_enabled is False in the config.*masked_attention True"):
        build(eomt_weights(probs=(1.0, 1.0, 1.0)), SIZE, config)
    assert build(eomt_weights(), SIZE, config).masked == [False] * BLOCKS


@pytest.mark.parametrize("masked", [True, False])
def test_a_config_replaces_missing_probabilities(tmp_path, masked):
    state = eomt_weights(probs=(float(masked),) * BLOCKS)
    images = golden_images(*SIZE)
    expected = outputs(build(state, SIZE), images)
    del state["attn_mask_probs"]
    config = config_file(tmp_path, num_blocks=BLOCKS, masked_attn_enabled=masked)
    for ours, theirs in zip(outputs(build(state, SIZE, config), images), expected, strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize(
    "stated",
    [{}, {"num_blocks": 3}, {"masked_attn_enabled": False}]
    + [{"num_blocks": blocks, "masked_attn_enabled": False} for blocks in (0, -1, 101, 10**12, 3.0, True)],
    ids=str,
)
def test_missing_probabilities_are_never_guessed(tmp_path, stated):
    state = eomt_weights()
    del state["attn_mask_probs"]
    with pytest.raises(PipeError, match=r"attn_mask_probs.*num_blocks.*masked_attn_enabled"):
        build(state, SIZE, config_file(tmp_path, **stated))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1", "must be plain yaml"),
        ("!!python/object/apply:os.system ['true']", "must be plain yaml"),
        ("- just a list", r"must describe the network under model\.init_args\.network\.init_args"),
        ("model: eomt", r"must describe the network under model\.init_args\.network\.init_args"),
    ],
)
def test_a_file_that_is_no_config(tmp_path, text, message):
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(PipeError, match=message):
        load_config(path)


def test_a_config_that_is_not_there(tmp_path):
    with pytest.raises(PipeError, match=r"nowhere\.yaml: No such file or directory"):
        load_config(tmp_path / "nowhere.yaml")
