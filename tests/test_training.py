"""The trainings: what they compute is right, a few steps help, and what they write is a checkpoint that loads."""

import itertools
import math

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch.nn import functional

from logitpipe.stages.infer.model import load_model
from logitpipe.stages.infer.networks.seam import Source
from logitpipe.stages.infer.weights.checkpoints import read_checkpoint
from training import eomt, erfnet, evaluate
from training.batches import HELD_OUT, batch, batches, reduced
from training.loop import WARM_UP, advance, learning_rate, progress, train
from training.measure import CLASSES, class_iou, confusion_of, iou
from training.set_loss import composed_loss, match, set_loss


@pytest.fixture(autouse=True)
def one_thread():
    """Steps this small only wait for each other in several threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_batches_go_on_through_the_seeds():
    images, classes = next(itertools.islice(batches(1, 2), 1, None))
    expected = batch([10_000_002, 10_000_003])
    assert images.shape == (2, 3, 256, 512)
    assert (images.dtype, classes.dtype) == (torch.float32, torch.int64)
    assert torch.equal(images, expected[0])
    assert torch.equal(classes, expected[1])
    assert 0 <= images.min() < images.max() <= 1


def test_reduced_scenes_are_means_and_middles():
    classes = torch.arange(2 * 8 * 16).view(2, 8, 16)
    images = classes[:, None].expand(-1, 3, -1, -1).float()
    smaller, seen = reduced((images, classes), 2)
    assert torch.equal(seen, classes[:, 1::2, 1::2])
    assert torch.equal(smaller[:, 0], seen - 8.5)  # half a pixel and half a row of 16 before the middle
    assert all(map(torch.equal, reduced((images, classes), 1), (images, classes)))


def test_iou_of_known_counts():
    confusion = torch.tensor([[3, 1, 0], [2, 4, 0], [0, 0, 0]])
    assert torch.equal(iou(confusion)[:2], torch.tensor([3 / 6, 4 / 7], dtype=torch.float64))
    assert iou(confusion)[2].isnan()


def test_void_counts_nowhere():
    truth, found = torch.tensor([[0, 255, 5, 5]]), torch.tensor([[0, 3, 5, 7]])
    confusion = confusion_of(found, truth)
    assert confusion.sum() == 3
    assert (confusion[0, 0], confusion[5, 5], confusion[5, 7]) == (1, 1, 1)


def test_the_truth_has_an_iou_of_one():
    truth = iter(batch([seed])[1].clamp(max=18) for seed in range(HELD_OUT, HELD_OUT + 2))
    found = class_iou(lambda _: next(truth), 2)
    assert found[~found.isnan()].eq(1).all()


def some_queries(Q: int = 6, K: int = 4) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    return torch.randn(2, Q, 8, 16), torch.randn(2, Q, K + 1), torch.randint(0, K, (2, 8, 16))


def test_queries_are_matched_at_the_least_cost():
    mask_logits, class_logits, classes = (part[0].flatten(1) for part in some_queries())
    present = classes.unique()
    masks = (classes.flatten() == present[:, None]).float()
    P, M = class_logits.softmax(1), mask_logits.sigmoid()

    def cost(query: int, segment: int) -> float:
        target = masks[segment]
        entropy = functional.binary_cross_entropy_with_logits(mask_logits[query], target)
        dice = 1 - (2 * (M[query] * target).sum() + 1) / (M[query].sum() + target.sum() + 1)
        return float(5 * entropy + 5 * dice - 2 * P[query, present[segment]])

    best = min(itertools.permutations(range(6), 4), key=lambda queries: sum(map(cost, queries, range(4))))
    queries, segments = match(mask_logits, class_logits, masks, present)
    assert dict(zip(segments.tolist(), queries.tolist(), strict=True)) == dict(enumerate(best))


def test_the_composed_map_is_that_of_the_scores():
    mask_logits, class_logits, classes = some_queries()
    P, M = class_logits.softmax(2)[..., :4], mask_logits.sigmoid()
    S = (P[:, :, :, None, None] * M[:, :, None]).sum(1)
    likelihood = (S / S.sum(1, keepdim=True)).gather(1, classes[:, None])
    assert composed_loss(mask_logits, class_logits, classes).item() == pytest.approx(
        -likelihood.log().mean().item(), rel=1e-4
    )


def test_the_set_loss_is_least_for_the_truth():
    mask_logits, class_logits, classes = some_queries()
    masks = functional.one_hot(classes, 6).permute(0, 3, 1, 2).float()
    perfect = 40 * masks - 20
    sure = 20 * torch.eye(6, 5).expand(2, -1, -1).clone()
    sure[:, 4:] = torch.tensor([0.0, 0, 0, 0, 20])
    assert set_loss(perfect, sure, classes).item() < 1e-3
    assert set_loss(mask_logits, class_logits, classes).item() > 5
    assert set_loss(perfect, sure.roll(1, 2), classes).item() > 5


def test_void_costs_nothing():
    mask_logits, class_logits, classes = some_queries()
    classes[:, :4] = 255
    before = set_loss(mask_logits, class_logits, classes)
    mask_logits[:, :, :4] += 3
    assert torch.equal(set_loss(mask_logits, class_logits, classes), before)


def test_class_weights_are_those_of_the_paper():
    classes = torch.cat([torch.zeros(75), torch.full((25,), 255)]).long()
    weights = erfnet.class_weights(classes)
    raw = np.array([1 / math.log(1.1 + share) for share in (0.75, *[0] * 18, 0.25)])
    assert np.allclose(weights.numpy(), raw / raw.mean())


def test_the_learning_rate_rises_and_falls():
    assert learning_rate(0, 0) == 1 / WARM_UP
    assert learning_rate(WARM_UP, 0) == 1
    assert learning_rate(WARM_UP, 0.5) == pytest.approx(0.5)
    assert learning_rate(WARM_UP, 1) == 0


def test_a_training_ends_after_its_steps_or_its_time():
    assert progress(5, 10, 1e9, None) == 0.5
    assert progress(5, 10, 45, minutes=1) == 0.75
    assert progress(5, 10, 6, minutes=1) == 0.5


@pytest.mark.slow
def test_a_training_takes_its_steps_and_reports():
    network, lines = torch.nn.Linear(1, 1), []
    data = iter([(torch.ones(4, 1), torch.ones(4, 1))] * 7)
    optimizer = torch.optim.SGD(network.parameters(), 0.1)
    before = network.weight.item()
    train(
        network,
        lambda x, y: (network(x) - y).square().mean(),
        data,
        optimizer,
        7,
        None,
        lambda line, _: lines.append(line),
    )
    assert network.weight.item() != before
    assert next(data, None) is None
    assert len(lines) == 1 and lines[0].startswith("end: step 7, ")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["erfnet", "eomt"])
def test_the_loss_falls_in_a_few_steps(monkeypatch, name):
    torch.manual_seed(0)
    scenes = batch([5, 6])
    if name == "erfnet":
        scenes = reduced(scenes, 4)
        network = erfnet.fresh_network()
        step = lambda x, y: erfnet.loss(network, torch.ones(CLASSES + 1), x, y)  # noqa: E731
    else:
        small = {"width": 64, "depth": 2, "mlp_width": 64, "patch_size": 32, "attn_mask_probs": [0.0]}
        monkeypatch.setattr(eomt, "FACTS", eomt.FACTS | small)
        monkeypatch.setattr(eomt, "PATCH", 32)
        network = eomt.fresh_network()
        step = lambda x, y: eomt.loss(network, x, y)  # noqa: E731
    optimizer = torch.optim.AdamW(network.parameters(), 2e-3)
    losses = [advance(network, step, optimizer, *scenes) for _ in range(10)]
    assert losses[-1] < 0.9 * losses[0]


@pytest.mark.slow
@pytest.mark.parametrize("module", [erfnet, eomt])
def test_a_training_writes_a_checkpoint_that_loads(tmp_path, module):
    name = module.__name__.split(".")[-1]
    path = tmp_path / f"{name}.safetensors"
    words = ["--out", str(path), "--steps", "1", "--batch-size", "1", "--held-out", "1"]
    result = CliRunner().invoke(module.main, words)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("end: step 1, 0.")
    model = load_model(Source(name, path, (256, 512)), torch.device("cpu"))
    assert model.module.facts.get("channels", 20) == 20
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    printed = CliRunner().invoke(
        evaluate.main, ["--network", name, "--weights", str(path), "--scenes", "1"], catch_exceptions=False
    )
    assert printed.stdout.splitlines()[0].startswith("road ")
    assert [line.split()[0] for line in printed.stdout.splitlines()][-1] == "mean"


@pytest.mark.slow
def test_a_training_starts_from_weights(tmp_path):
    path = tmp_path / "erfnet.safetensors"
    words = ["--out", str(path), "--steps", "1", "--batch-size", "1", "--held-out", "1", "--reduce", "4"]
    assert CliRunner().invoke(erfnet.main, words).exit_code == 0
    kernels = read_checkpoint(path).tensors["decoder.output_conv.weight"]
    result = CliRunner().invoke(erfnet.main, [*words, "--start", str(path), "--rate", "0"])
    assert result.exit_code == 0, result.output
    assert torch.equal(read_checkpoint(path).tensors["decoder.output_conv.weight"], kernels)
