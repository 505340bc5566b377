"""EoMT: its facts, masked attention and position embedding, and its twin at Hugging Face."""

import json
import re
from dataclasses import replace

import pytest
import torch
from golden_rule import (
    BAR,
    CLASSES,
    QUERIES,
    SMALL_EOMT,
    assert_agrees,
    eomt_weights,
    golden_images,
    golden_state,
    outputs,
)
from torch import nn

from logitpipe.cache.errors import PipeError, UsageError
from logitpipe.stages.infer.model import load_model
from logitpipe.stages.infer.networks.eomt.config import load_config
from logitpipe.stages.infer.networks.eomt.keys import POSITIONS
from logitpipe.stages.infer.networks.eomt.network import build, load
from logitpipe.stages.infer.networks.eomt.vit import (
    HEAD_WIDTH,
    embedding_grid,
    resize_position_embedding,
    rotated,
    rotation_of,
)
from logitpipe.stages.infer.networks.seam import Source

SIZE = (32, 96)


# ---- Masked attention


def mask_predictions(network, images):
    """How often a forward pass predicts masks."""
    calls = []
    hook = network.mask_head.register_forward_hook(lambda *_: calls.append(1))
    outputs(network, images)
    hook.remove()
    return len(calls)


@pytest.mark.parametrize("probs", [(0.0, 0.0, 0.0), (1.0, 1.0, 1.0), (0.0, 0.0, 1.0)])
def test_only_masked_blocks_cost_a_prediction(probs):
    network = build(eomt_weights(probs=probs), SIZE)
    assert mask_predictions(network, golden_images(*SIZE)) == 1 + sum(probs)
    assert network.facts["attn_mask_probs"] == list(probs)


def test_no_mask_reaches_the_attention_where_masks_are_off(monkeypatch):
    masks = []
    attention = nn.functional.scaled_dot_product_attention
    monkeypatch.setattr(
        nn.functional,
        "scaled_dot_product_attention",
        lambda q, k, v, attn_mask: masks.append(attn_mask) or attention(q, k, v, attn_mask),
    )
    outputs(build(eomt_weights(), SIZE), golden_images(*SIZE))
    assert masks == [None] * SMALL_EOMT["depth"]


def test_masked_attention_changes_the_result():
    free, masked = (
        outputs(build(eomt_weights(probs=probs), SIZE), golden_images(*SIZE))
        for probs in ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    )
    assert (free[1] - masked[1]).abs().max() > BAR * free[1].std()


@pytest.mark.parametrize(
    ("probs", "masked_attention", "expected"),
    [
        ((1.0, 1.0, 1.0), "checkpoint", [1.0, 1.0, 1.0]),
        ((1.0, 1.0, 1.0), "off", [0.0, 0.0, 0.0]),
        ((0.0, 0.0, 1.0), "on", [1.0, 1.0, 1.0]),
        ((0.68, 1.0, 1.0), "checkpoint", [0.0, 0.0, 0.0]),
        ((0.68, 1.0, 1.0), "on", [1.0, 1.0, 1.0]),
    ],
)
def test_masks_as_the_weights_or_a_flag_have_them(probs, masked_attention, expected):
    network = build(eomt_weights(probs=probs), SIZE, None, masked_attention)
    assert network.facts["attn_mask_probs"] == expected
    assert network.facts["masked_attention"] == any(expected)


def test_an_annealing_that_was_not_finished_is_said(tmp_path):
    (tmp_path / "classes.txt").write_text("\n".join("abcd"))
    torch.save(eomt_weights(probs=(0.68, 1.0, 1.0)), tmp_path / "eomt.pth")
    source = Source("eomt", tmp_path / "eomt.pth", SIZE, classes=str(tmp_path / "classes.txt"))
    (note,) = load(source).notes
    assert note == "attn_mask_probs are 0.68, 1, 1: their annealing was not finished, so masked attention is off"
    assert load(replace(source, own={"masked_attention": "off"})).notes == ()


@pytest.mark.parametrize(
    ("grid", "img_size", "resize"),
    [((4, 4), None, "windows:64"), ((2, 4), None, "32x64"), ((4, 4), [32, 96], "32x96"), ((3, 4), [48, 64], "48x64")],
)
def test_the_size_is_that_of_the_training(tmp_path, grid, img_size, resize):
    (tmp_path / "classes.txt").write_text("\n".join("abcd"))
    torch.save(eomt_weights(grid=grid), tmp_path / "eomt.pth")
    path = tmp_path / "config.yaml"
    path.write_text(json.dumps({"model": {"init_args": {"network": {"init_args": {}}, "img_size": img_size}}}))
    source = Source("eomt", tmp_path / "eomt.pth", classes=str(tmp_path / "classes.txt"), own={"config": path})
    if grid == (4, 4) and img_size:  # another shape than the weights say
        with pytest.raises(PipeError, match="which is none of 2x6"):
            load(source)
        return
    model = load_model(source, torch.device("cpu"))
    assert str(model.resize) == resize
    assert model.network.sigmoid_at == ("window" if resize.startswith("windows") else "masks")
    assert model.network.module.encoder.backbone.grid == tuple(side // 16 for side in model.input_size)


@pytest.mark.parametrize(
    ("task", "classes", "resize"),
    [
        (None, 133, "pad:64"),
        (None, 80, "pad:64"),
        (None, 19, "windows:64"),
        ("Panoptic", 19, "pad:64"),
        ("Semantic", 133, "windows:64"),
    ],
)
def test_panoptic_networks_are_padded(tmp_path, task, classes, resize):
    torch.save(eomt_weights(grid=(4, 4), classes=classes), tmp_path / "eomt.pth")
    (tmp_path / "classes.txt").write_text("\n".join(map(str, range(classes))))
    path = tmp_path / "config.yaml"
    path.write_text(
        json.dumps(
            {
                "model": {
                    "class_path": f"training.MaskClassification{task}",
                    "init_args": {"network": {"init_args": {}}},
                }
            }
        )
    )
    source = Source("eomt", tmp_path / "eomt.pth", classes=str(tmp_path / "classes.txt"), own={"config": path})
    network = load(source)
    assert network.resize == resize
    assert network.sigmoid_at == ("picture" if resize.startswith("pad") else "window")


@pytest.mark.parametrize("rule", ["native", "short:64", "long:64"])
def test_inputs_of_many_sizes_are_refused(tmp_path, rule):
    torch.save(eomt_weights(classes=19), tmp_path / "eomt.pth")
    with pytest.raises(UsageError, match=f"one size, and the rule {rule} brings many"):
        load(Source("eomt", tmp_path / "eomt.pth", rule))


def test_probabilities_for_more_blocks_than_there_are():
    state = eomt_weights() | {"attn_mask_probs": torch.zeros(5)}
    with pytest.raises(PipeError, match="5 query blocks and 4 blocks"):
        build(state, SIZE)


def test_width_that_heads_do_not_divide():
    with pytest.raises(PipeError, match="multiple of that; the weights have width 96"):
        build(eomt_weights(width=96), SIZE)


# ---- Facts off the weights


@pytest.mark.parametrize(
    "facts",
    [
        {"width": 64, "heads": 1},
        {"depth": 6},
        {"mlp_width": 64},
        {"patch_size": 8},
        {"patch_size": 32},
        {"register_tokens": 0},
        {"queries": 3},
        {"classes": 19},
    ],
    ids=str,
)
def test_facts_are_read_off_the_weights(facts):
    patch_size = facts.get("patch_size", 16)
    grid = (64 // patch_size, 96 // patch_size)
    network = build(eomt_weights(grid, **facts), (64, 96))
    assert network.facts == SMALL_EOMT | facts
    masks, classes = outputs(network, golden_images(64, 96))
    assert network.output_shapes((64, 96)) == (masks.shape[1:], classes.shape[1:])
    assert masks.shape[1:] == (network.facts["queries"], 16, 24)
    assert classes.shape[1:] == (network.facts["queries"], network.facts["classes"] + 1)


@pytest.mark.parametrize("patch_size", [4, 12, 14])
def test_masks_of_unusual_patches_are_of_the_stated_shape(patch_size):
    size = (3 * patch_size, 5 * patch_size)
    network = build(eomt_weights((3, 5), patch_size=patch_size), size)
    assert network.output_shapes(size) == tuple(z.shape[1:] for z in outputs(network, golden_images(*size)))


# ---- Position embedding


def test_an_embedding_of_the_same_grid_is_untouched():
    embedding = torch.rand(1, 12, 4)
    assert resize_position_embedding(embedding, (2, 6), (2, 6)) is embedding


@pytest.mark.parametrize("new", [(4, 8), (8, 4), (3, 5), (12, 12)])
def test_a_resized_embedding_keeps_its_axes(new):
    rows = torch.rand(6, 1, 1).expand(6, 6, 1)
    columns = rows.transpose(0, 1)
    embedding = torch.cat([rows, columns, torch.ones(6, 6, 1)], dim=2).reshape(1, 36, 3)
    h, w = new
    resized = resize_position_embedding(embedding, (6, 6), new)
    assert resized.shape == (1, h * w, 3)
    down, across, constant = resized.reshape(h, w, 3).unbind(2)
    torch.testing.assert_close(down, down[:, :1].expand(h, w))
    torch.testing.assert_close(across, across[:1].expand(h, w))
    torch.testing.assert_close(constant, torch.ones(h, w))
    assert down.std() > 0.01
    assert across.std() > 0.01


@pytest.mark.parametrize(
    ("tokens", "grid", "declared", "found"),
    [
        (3200, (40, 80), None, (40, 80)),
        (1600, (40, 80), None, (40, 40)),
        (512, (40, 80), None, (16, 32)),
        (512, (40, 40), (16, 32), (16, 32)),
        (1600, (20, 80), (40, 40), (40, 40)),
        (1600, (20, 80), (20, 80), (20, 80)),
        (16, (4, 4), None, (4, 4)),
    ],
)
def test_grid_of_an_embedding(tokens, grid, declared, found):
    assert embedding_grid(tokens, grid, declared) == found


@pytest.mark.parametrize(
    ("tokens", "grid", "declared", "message"),
    [
        (3200, (40, 40), None, "3200 positions, which is none of 56x56"),
        (512, (40, 70), None, "512 positions, which is none of 16x28 or 22x22"),
        (1600, (20, 80), None, "1600 positions, which may be any of 20x80 or 40x40"),
        (3200, (40, 80), (64, 64), "3200 positions, which is none of 64x64"),
    ],
)
def test_a_grid_that_nothing_tells(tokens, grid, declared, message):
    with pytest.raises(PipeError, match=rf"{message}"):
        embedding_grid(tokens, grid, declared)


def test_weights_of_another_grid_are_resized():
    state = eomt_weights()
    network = build(state, SIZE)
    expected = resize_position_embedding(state[POSITIONS], (4, 4), (2, 6))
    assert torch.equal(network.encoder.backbone.pos_embed, expected)
    assert outputs(network, golden_images(*SIZE))[0].shape == (1, QUERIES, 8, 24)


# ---- Other backbones


def test_a_backbone_without_registers():
    state = eomt_weights(register_tokens=0)
    expected = outputs(build(state, SIZE), golden_images(*SIZE))
    # As timm has it: no key for registers, and a position for the class token too.
    key, place = "encoder.backbone.cls_token", torch.full((1, 1, 128), 0.5)
    other = state | {key: state[key] - place, POSITIONS: torch.cat([place, state[POSITIONS]], dim=1)}
    del other["encoder.backbone.reg_token"]
    for ours, theirs in zip(outputs(build(other, SIZE), golden_images(*SIZE)), expected, strict=True):
        assert_agrees(ours, theirs)


def test_a_backbone_without_layer_scale():
    state = eomt_weights()
    ones = {key: torch.ones_like(value) for key, value in state.items() if key.endswith("gamma")}
    expected = outputs(build(state | ones, SIZE), golden_images(*SIZE))
    without = {key: value for key, value in state.items() if key not in ones}
    for ours, theirs in zip(outputs(build(without, SIZE), golden_images(*SIZE)), expected, strict=True):
        assert torch.equal(ours, theirs)


def test_a_position_embedding_that_lacks_is_no_rotary_one():
    state = eomt_weights()
    del state[POSITIONS]
    with pytest.raises(PipeError, match=r"must hold encoder\.backbone\.pos_embed"):
        build(state, SIZE)


# ---- Hugging Face

SIZES = {
    "hidden_size": 128,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "image_size": 64,
    "num_labels": CLASSES,
}


def random_oracle(family, probs, **config):
    """A small network of transformers with the rule's weights, and these."""
    transformers = pytest.importorskip("transformers")
    queries = {"num_queries": QUERIES, "num_blocks": len(probs), "num_register_tokens": 2}
    made = getattr(transformers, f"{family}Config")(**(SIZES | queries | config))
    oracle = getattr(transformers, f"{family}ForUniversalSegmentation")(made).eval()
    state = golden_state((key, like.shape) for key, like in oracle.state_dict().items())
    state["attn_mask_probs"] = torch.tensor(probs)
    oracle.load_state_dict(state)
    return oracle, state


def assert_same_outputs(network, oracle, size=(64, 64)):
    images = golden_images(*size, batch=2)
    with torch.inference_mode():
        theirs = oracle((images - network.encoder.pixel_mean) / network.encoder.pixel_std)
    masks, classes = outputs(network, images)
    assert_agrees(masks, theirs.masks_queries_logits)
    assert_agrees(classes, theirs.class_queries_logits)


@pytest.mark.slow
@pytest.mark.parametrize("probs", [(0.0, 0.0), (1.0, 1.0), (0.0, 1.0)], ids=str)
@pytest.mark.parametrize(
    ("family", "config"),
    [
        ("Eomt", {}),
        ("Eomt", {"use_swiglu_ffn": True, "num_register_tokens": 0}),
        ("EomtDinov3", {"intermediate_size": 192, "layer_norm_eps": 1e-5}),
        ("EomtDinov3", {"intermediate_size": 192, "layer_norm_eps": 1e-5, "use_gated_mlp": True}),
    ],
    ids=["eomt", "giant", "dinov3", "dinov3 gated"],
)
def test_hugging_faces_eomt_agrees(family, config, probs):
    if config.get("use_gated_mlp"):
        config = config | {"hidden_act": "silu"}
    oracle, state = random_oracle(family, probs, **config)
    if config.get("use_gated_mlp"):  # its library has one activation for the backbone and what comes after it
        for module in (oracle.mask_head, *oracle.upscale_block.block):
            module.activation = nn.GELU()
    network = build(state, (64, 64))
    assert_same_outputs(network, oracle)
    assert network.facts.get("gated_mlp", False) == bool(config.keys() & {"use_swiglu_ffn", "use_gated_mlp"})
    assert network.facts.get("rotary", False) == (family == "EomtDinov3")


@pytest.mark.slow
def test_differences_to_a_dinov3_backbone():
    oracle, state = random_oracle("EomtDinov3", (0.0, 0.0), intermediate_size=192, layer_norm_eps=1e-5)
    encoder = [key for key in state if key.startswith(("embeddings.", "layers.", "layernorm."))]
    difference = {key: 0.001 * torch.ones_like(state[key]) for key in encoder}
    base = {
        re.sub(r"^layers\.", "layer.", key).replace("layernorm.", "norm."): state[key] - difference[key]
        for key in encoder
    } | {"embeddings.mask_token": torch.zeros(1, 1, 128)}
    assert_same_outputs(build(state | difference, (64, 64), base=base), oracle)
    # In upstream's own names, as its checkpoints have them.
    places = {
        r"^embeddings\.": "encoder.backbone.patch_embed.",
        r"^layers\.": "encoder.backbone.blocks.",
        r"^layernorm\.": "encoder.backbone.norm.",
        r"^query\.": "q.",
        r"^class_predictor\.": "class_head.",
        r"^upscale_block\.block\.(\d+)\.layernorm2d": r"upscale.\1.norm",
        r"^upscale_block\.block\.": "upscale.",
        r"^mask_head\.fc1\.": "mask_head.0.",
        r"^mask_head\.fc2\.": "mask_head.2.",
        r"^mask_head\.fc3\.": "mask_head.4.",
    }
    upstream = {}
    for key, value in (state | difference).items():
        for pattern, place in places.items():
            key = re.sub(pattern, place, key)
        upstream[key] = value
    normal = {"encoder.pixel_mean": (0.485, 0.456, 0.406), "encoder.pixel_std": (0.229, 0.224, 0.225)}
    upstream |= {key: torch.tensor(value).view(1, 3, 1, 1) for key, value in normal.items()}
    network = build(upstream, (64, 64), base=base)
    assert_same_outputs(network, oracle)
    with pytest.raises(UsageError, match="differences to those of a DINOv3 backbone"):
        build(upstream, (64, 64))
    del base["norm.weight"]
    with pytest.raises(PipeError, match=r"and 1 of \d+ are not so: encoder\.backbone\.norm\.weight"):
        build(upstream, (64, 64), base=base)


def test_a_rotary_embedding_takes_any_grid():
    cos, sin = rotation_of((2, 3), torch.device("cpu"))
    assert cos.shape == sin.shape == (6, HEAD_WIDTH)
    torch.testing.assert_close(cos**2 + sin**2, torch.ones(6, HEAD_WIDTH))
    x = torch.rand(1, 2, 8, HEAD_WIDTH)
    turned = rotated(x, (cos, sin))
    assert torch.equal(turned[:, :, :2], x[:, :, :2])
    torch.testing.assert_close(turned.norm(dim=-1), x.norm(dim=-1))


@pytest.mark.slow
def test_a_conversion_without_probabilities(tmp_path):
    _, state = random_oracle("Eomt", (0.0, 0.0))
    del state["attn_mask_probs"]
    with pytest.raises(PipeError, match="num_blocks is None, masked_attn_enabled None"):
        build(state, (64, 64))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "eomt", "num_blocks": 2, "image_size": 64}))
    config = load_config(tmp_path / "config.json")
    with pytest.raises(PipeError, match="num_blocks is 2, masked_attn_enabled None"):
        build(state, (64, 64), config)
    for words, expected in (("off", [0.0, 0.0]), ("on", [1.0, 1.0])):
        assert build(state, (64, 64), config, words).facts["attn_mask_probs"] == expected


def test_a_missing_projection_is_named():
    state = {"embeddings.cls_token": torch.zeros(1), "layers.0.attention.q_proj.weight": torch.zeros(2, 2)}
    with pytest.raises(PipeError, match=r"lack layers\.0\.attention\.k_proj\.weight"):
        build(state, SIZE)


def test_images_of_another_grid_are_refused():
    network = build(eomt_weights(), (32, 96))
    with pytest.raises(PipeError, match="2x6 patches; found 6x2"):
        network(golden_images(96, 32))
