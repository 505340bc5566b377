"""EoMT: its facts, masked attention and position embedding, and its twin at Hugging Face."""

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

from logitpipe.cache.errors import PipeError
from logitpipe.stages.infer.networks.eomt.keys import POSITIONS
from logitpipe.stages.infer.networks.eomt.network import build
from logitpipe.stages.infer.networks.eomt.vit import embedding_grid, resize_position_embedding

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


def test_a_training_in_progress_is_refused():
    with pytest.raises(PipeError, match=r"0 or 1 for each block; the weights have \[0\.0, 0\.25, 1\.0\]"):
        build(eomt_weights(probs=(0.0, 0.25, 1.0)), SIZE)


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
    with pytest.raises(PipeError, match=rf"{message}\. .*img_size.*--config"):
        embedding_grid(tokens, grid, declared)


def test_weights_of_another_grid_are_resized():
    state = eomt_weights()
    network = build(state, SIZE)
    expected = resize_position_embedding(state[POSITIONS], (4, 4), (2, 6))
    assert torch.equal(network.encoder.backbone.pos_embed, expected)
    assert outputs(network, golden_images(*SIZE))[0].shape == (1, QUERIES, 8, 24)


# ---- Hugging Face


@pytest.mark.slow
@pytest.mark.parametrize("probs", [(0.0, 0.0), (1.0, 1.0), (0.0, 1.0)], ids=str)
def test_hugging_faces_eomt_agrees(probs):
    transformers = pytest.importorskip("transformers")
    config = transformers.EomtConfig(
        hidden_size=128,
        num_hidden_layers=3,
        num_attention_heads=2,
        image_size=64,
        num_queries=QUERIES,
        num_blocks=len(probs),
        num_register_tokens=2,
        num_labels=CLASSES,
    )
    oracle = transformers.EomtForUniversalSegmentation(config).eval()
    state = golden_state((key, like.shape) for key, like in oracle.state_dict().items())
    state["attn_mask_probs"] = torch.tensor(probs)
    oracle.load_state_dict(state)
    images = golden_images(64, 64, batch=2)
    network = build(state, (64, 64))
    with torch.inference_mode():
        theirs = oracle((images - network.encoder.pixel_mean) / network.encoder.pixel_std)
    masks, classes = outputs(network, images)
    assert_agrees(masks, theirs.masks_queries_logits)
    assert_agrees(classes, theirs.class_queries_logits)


def test_a_missing_projection_is_named():
    state = {"embeddings.cls_token": torch.zeros(1), "layers.0.attention.q_proj.weight": torch.zeros(2, 2)}
    with pytest.raises(PipeError, match=r"lack layers\.0\.attention\.k_proj\.weight"):
        build(state, SIZE)


def test_images_of_another_grid_are_refused():
    network = build(eomt_weights(), (32, 96))
    with pytest.raises(PipeError, match="2x6 patches; found 6x2"):
        network(golden_images(96, 32))
