"""Networks of the transformers library on random weights, each held against the library itself."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import fails
from PIL import Image
from torch.nn import functional

from logitpipe.cache import open_store
from logitpipe.cache.errors import PipeError
from logitpipe.stages.infer.data.geometry import Resize
from logitpipe.stages.infer.data.layout import Sample
from logitpipe.stages.infer.data.preprocess import prepare
from logitpipe.stages.infer.forward import _to_device
from logitpipe.stages.infer.model import Model
from logitpipe.stages.infer.networks import NETWORKS
from logitpipe.stages.infer.networks.huggingface import _declared, _filled
from logitpipe.stages.infer.networks.seam import Preprocessing, Source

SIZE = (64, 64)
NAMES = dict(enumerate(("road", "sky", "car", "tree")))


def segformer(t, names):
    sizes = {"hidden_sizes": [8, 8, 16, 16], "depths": [1] * 4, "num_attention_heads": [1, 1, 2, 2]}
    return t.SegformerForSemanticSegmentation(t.SegformerConfig(**sizes, decoder_hidden_size=16, **names))


def upernet(t, names):
    stages = [f"stage{i}" for i in range(1, 5)]
    backbone = t.ConvNextConfig(hidden_sizes=[8, 8, 16, 16], depths=[1] * 4, out_features=stages)
    sizes = {"hidden_size": 16, "pool_scales": [1, 2], "auxiliary_in_channels": 16, "auxiliary_channels": 8}
    return t.UperNetForSemanticSegmentation(t.UperNetConfig(backbone_config=backbone, **sizes, **names))


VIT = {
    "hidden_size": 32,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "image_size": SIZE[0],
    "patch_size": 16,
}


def dpt(t, names):
    neck = {"backbone_out_indices": [0, 1, 2, 3], "neck_hidden_sizes": [8, 8, 16, 16], "fusion_hidden_size": 16}
    return t.DPTForSemanticSegmentation(t.DPTConfig(**VIT, **neck, is_hybrid=False, **names))


def beit(t, names):
    return t.BeitForSemanticSegmentation(
        t.BeitConfig(**VIT, out_indices=[0, 1, 2, 3], use_relative_position_bias=True, **names)
    )


def data2vec(t, names):
    blocks = {"out_indices": [0, 1, 2, 3], "use_relative_position_bias": True}
    return t.Data2VecVisionForSemanticSegmentation(t.Data2VecVisionConfig(**VIT, **blocks, **names))


def swin(t):
    stages = [f"stage{i}" for i in range(1, 5)]
    return t.SwinConfig(
        image_size=64, embed_dim=8, depths=[1] * 4, num_heads=[1] * 4, window_size=4, out_features=stages
    )


def mask2former(t, names):
    widths = {"feature_size": 32, "mask_feature_size": 32, "hidden_dim": 32, "encoder_feedforward_dim": 32}
    depths = {"encoder_layers": 1, "decoder_layers": 2, "num_attention_heads": 2, "dim_feedforward": 32}
    return t.Mask2FormerForUniversalSegmentation(
        t.Mask2FormerConfig(backbone_config=swin(t), num_queries=5, **widths, **depths, **names)
    )


def maskformer(t, names):
    decoder = t.DetrConfig(
        d_model=32,
        encoder_layers=1,
        decoder_layers=1,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        num_queries=5,
        backbone_config=t.ResNetConfig(embedding_size=8, hidden_sizes=[8] * 4, depths=[1] * 4),
    )
    sizes = {"fpn_feature_size": 32, "mask_feature_size": 32, "num_queries": 5}
    return t.MaskFormerForInstanceSegmentation(
        t.MaskFormerConfig(backbone_config=swin(t), decoder_config=decoder, **sizes, **names)
    )


def oneformer(t, names):
    widths = {"hidden_dim": 32, "conv_dim": 32, "mask_dim": 32, "encoder_feedforward_dim": 32, "dim_feedforward": 32}
    depths = {"encoder_layers": 1, "decoder_layers": 2, "query_dec_layers": 1, "num_attention_heads": 2}
    text = {"text_encoder_width": 16, "text_encoder_num_layers": 1, "text_encoder_vocab_size": 300}
    lengths = {"text_encoder_context_length": 7, "text_encoder_n_ctx": 1, "task_seq_len": 7}
    return t.OneFormerForUniversalSegmentation(
        t.OneFormerConfig(backbone_config=swin(t), num_queries=5, **widths, **depths, **text, **lengths, **names)
    )


TASK = "the task is semantic"


def save_tokenizer(t, folder):
    """Write a tokenizer that knows letters alone; return the tokens of the task."""
    letters = sorted(set(TASK.replace(" ", "")))
    tokens = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{letter}</w>" for letter in letters)]
    (folder / "vocab.json").write_text(json.dumps({token: index for index, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = t.CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"))
    tokenizer.save_pretrained(folder)
    found = tokenizer(TASK, padding="max_length", max_length=7, truncation=True)
    return torch.tensor(found["input_ids"]) * torch.tensor(found["attention_mask"])


EOMT = {
    "hidden_size": 128,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "image_size": 64,
    "num_queries": 5,
    "num_blocks": 2,
    "num_register_tokens": 2,
}


def eomt(t, names):
    return t.EomtForUniversalSegmentation(t.EomtConfig(**EOMT, **names))


def eomt_dinov3(t, names):
    return t.EomtDinov3ForUniversalSegmentation(t.EomtDinov3Config(**EOMT, intermediate_size=128, **names))


MAKERS = {
    "Segformer": segformer,
    "UperNet": upernet,
    "DPT": dpt,
    "Beit": beit,
    "Data2VecVision": data2vec,
    "Mask2Former": mask2former,
    "MaskFormer": maskformer,
    "OneFormer": oneformer,
    "Eomt": eomt,
    "EomtDinov3": eomt_dinov3,
}
"""Family -> a small network of it with random weights; its image processor is called FAMILYImageProcessorPil."""

PROCESSORS = {"UperNet": "Segformer", "Data2VecVision": "Beit", "EomtDinov3": "Eomt"}
"""Family -> that whose image processor it uses."""


def random_network(family):
    """A small network whose outputs differ from place to place."""
    transformers = pytest.importorskip("transformers")
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    torch.manual_seed(2)
    names = {"id2label": NAMES, "label2id": {name: index for index, name in NAMES.items()}}
    network = MAKERS[family](transformers, names).eval()
    for parameter in network.parameters():
        if parameter.ndim > 1:  # the library draws them so small that classes could not be told apart
            torch.nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5)
    return transformers, network


def class_map(network, outputs, size):
    """Most likely classes [B, H, W], and by how much each is ahead, as the network's authors find them."""
    if network.kind == "pixel":
        scores = functional.interpolate(outputs, size, mode="bilinear", align_corners=False)
    else:
        masks, classes = outputs
        at = {"masks": masks.shape[2:], "window": size}.get(network.sigmoid_at, network.sigmoid_at)
        M = functional.interpolate(masks, at, mode="bilinear", align_corners=False).sigmoid()
        S = torch.einsum("bqk,bqhw->bkhw", classes.softmax(-1)[..., :-1], M)
        scores = functional.interpolate(S, size, mode="bilinear", align_corners=False)
    best, second = scores.topk(2, dim=1).values.unbind(1)
    return scores.argmax(1), best - second


@pytest.mark.slow
@pytest.mark.parametrize("family", MAKERS)
def test_outputs_and_class_maps_are_the_librarys(tmp_path, family):
    transformers, oracle = random_network(family)
    oracle.save_pretrained(tmp_path, max_shard_size="60KB")
    processor = getattr(transformers, f"{PROCESSORS.get(family, family)}ImageProcessorPil")()
    processor.save_pretrained(tmp_path)
    task = {"task_inputs": save_tokenizer(transformers, tmp_path).expand(2, -1)} if family == "OneFormer" else {}
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 1
    # EoMT's authors run it in windows, of which a square picture has one, and take the sigmoid at their size.
    network = NETWORKS["hf"](Source("hf", tmp_path, f"windows:{SIZE[0]}" if "Eomt" in family else SIZE))
    images = torch.rand(2, 3, *SIZE, generator=torch.Generator().manual_seed(1))
    mean, std = (torch.tensor(value).view(1, 3, 1, 1) for value in (processor.image_mean, processor.image_std))
    with torch.inference_mode():
        ours, theirs = network.module(images), oracle(pixel_values=(images - mean) / std, **task)
    if network.kind == "pixel":
        pairs = [(ours, theirs.logits)]
    else:
        pairs = list(zip(ours, (theirs.masks_queries_logits, theirs.class_queries_logits), strict=True))
    for own, reference in pairs:
        assert reference.std() > 1e-3
        assert (own - reference).abs().max() <= 1e-4 * reference.std()
    assert network.channels.names == tuple(NAMES.values())
    found, ahead = class_map(network, ours, SIZE)
    flags = {"size": {"shortest_edge": 64, "longest_edge": 64}} if "Eomt" in family else {}
    given = SimpleNamespace(**theirs, patch_offsets=[(0, 0, 64), (1, 0, 64)]) if flags else theirs
    expected = torch.stack(processor.post_process_semantic_segmentation(given, target_sizes=[SIZE] * 2, **flags))
    assert len(expected.unique()) > 1
    assert (found == expected)[ahead > 1e-4].all()


@pytest.mark.slow
def test_pipe_infer_takes_classes_and_preprocessing_from_the_folder(run, tmp_path):
    transformers, network = random_network("Segformer")
    network.save_pretrained(tmp_path / "saved")
    transformers.SegformerImageProcessorPil(size={"height": 64, "width": 96}).save_pretrained(tmp_path / "saved")
    flags = ("--weights", str(tmp_path / "saved"))
    result = run(*flags, network="hf", weights=False)
    assert result.exit_code == 0, result.stderr
    assert result.stderr.splitlines()[0] == (
        "segformer: 4 classes (0 road, 1 sky, ..., 3 tree), none is void; by its config.json"
    )
    schema = open_store(tmp_path / "store").schema
    assert (schema.network, schema.input_size, schema.logits_shape) == ("segformer", (64, 96), (4, 16, 24))
    assert schema.facts["mean"] == (0.485, 0.456, 0.406) or schema.facts["mean"] == [0.485, 0.456, 0.406]
    assert run(*flags, "--void-class", "sky", network="hf", weights=False, out="void").exit_code == 0
    assert open_store(tmp_path / "void").schema.void_class == 1
    config = json.loads((tmp_path / "saved" / "config.json").read_text())
    del config["id2label"], config["label2id"]
    (tmp_path / "saved" / "config.json").write_text(json.dumps(config | {"num_labels": 4}))
    result = run(*flags, network="hf", weights=False, out="unnamed")
    assert result.exit_code == 2
    assert result.stderr.startswith("pipe: nothing says which classes the network's 4 channels are; name ")
    (tmp_path / "saved" / "config.json").write_text(json.dumps(config | {"num_labels": 5}))
    result = run(*flags, network="hf", weights=False, out="unnamed")
    assert (result.exit_code, len(result.stderr.splitlines())) == (1, 1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("said", "resize", "mean", "colour"),
    [
        ({"feature_extractor_type": "SegformerFeatureExtractor", "size": 512}, "512x512", 0.485, "RGB"),
        (
            {"feature_extractor_type": "MaskFormerFeatureExtractor", "size": 640, "max_size": 2560},
            "short:640:2560",
            0.485,
            "RGB",
        ),
        (
            {"feature_extractor_type": "MobileViTFeatureExtractor", "size": 544, "do_center_crop": True},
            "short:544",
            0.0,
            "BGR",
        ),
        ({"image_processor_type": "SegformerImageProcessorFast", "do_normalize": False}, "512x512", 0.0, "RGB"),
        ({"size": {"height": 64, "width": 96}, "image_mean": 0.25, "image_std": 0.5}, "64x96", 0.25, "RGB"),
    ],
)
def test_files_of_older_versions_leave_out_what_the_library_knows(said, resize, mean, colour):
    transformers = pytest.importorskip("transformers")
    declared = _declared(SimpleNamespace(), _filled(transformers, said))
    assert (declared.resize, declared.mean[0], declared.colour) == (resize, mean, colour)


@pytest.mark.slow
def test_what_a_folder_does_not_say_must_be_declared(tmp_path):
    _, oracle = random_network("Mask2Former")
    oracle.save_pretrained(tmp_path)
    state = oracle.state_dict()
    # Older versions saved what the library computes today.
    tables = [key for key in state if key.endswith("relative_position_bias_table")]
    state |= {key.replace("bias_table", "index"): torch.zeros(16, 16, dtype=torch.int64) for key in tables}
    (tmp_path / "model.safetensors").unlink()
    torch.save(state, tmp_path / "pytorch_model.bin")
    processing = {"image_processor_type": "UnknownProcessor", "size": [64, 64]}
    (tmp_path / "processor_config.json").write_text(json.dumps({"image_processor": processing}))
    with pytest.raises(PipeError, match="do not say by which mean"):
        NETWORKS["hf"](Source("hf", tmp_path, SIZE))
    means = {"mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25)}
    with pytest.raises(PipeError, match=r"give the size \[64, 64\], which is none of the rules"):
        NETWORKS["hf"](Source("hf", tmp_path, own={"declare": means}))
    config = json.loads((tmp_path / "config.json").read_text())
    config["id2label"] = {str(index + 1): name for index, name in NAMES.items()}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(PipeError, match="nothing says which classes"):
        NETWORKS["hf"](Source("hf", tmp_path, SIZE, own={"declare": means}))


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "a folder that save_pretrained wrote holds config.json; .*No such file"),
        ({"config.json": "[1]"}, "must hold a JSON object, and holds a list"),
        ({"config.json": "{"}, "must be JSON, and is not: JSONDecodeError"),
        ({"config.json": "{}"}, "names the architecture None, and one that ends in ForSemanticSegmentation"),
        ({"config.json": '{"architectures": ["BertModel"]}'}, "names the architecture 'BertModel'"),
        (
            {
                "config.json": '{"architectures": ["DPTForSemanticSegmentation"]}',
                "preprocessor_config.json": '{"keep_aspect_ratio": true, "size": {"height": 384, "width": 384}}',
            },
            "says keep_aspect_ratio: the side that changes less decides the size",
        ),
        (
            {"config.json": '{"architectures": ["DPTForSemanticSegmentation"]}'},
            "holds no weights: none of",
        ),
        (
            {
                "config.json": '{"architectures": ["DPTForSemanticSegmentation"]}',
                "model.safetensors.index.json": '{"weight_map": {"a": "../b.safetensors"}}',
            },
            "must name the files of the weights, all beside it",
        ),
    ],
)
def test_folders_that_are_none(tmp_path, files, message):
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(PipeError, match=message):
        NETWORKS["hf"](Source("hf", tmp_path))


def test_a_name_on_the_hub(run, tmp_path, monkeypatch):
    hub = pytest.importorskip("huggingface_hub")

    def unreachable(*_, **__):
        raise ConnectionError("no route to\nhost")

    monkeypatch.setattr(hub, "snapshot_download", unreachable)
    fails(
        run("--weights", "nvidia/segformer-b0", network="hf", weights=False),
        "pipe: nvidia/segformer-b0 is no folder here, and the hub does not give it: "
        "ConnectionError: no route to host (test_huggingface.py, line LINE)".replace(
            "LINE", str(unreachable.__code__.co_firstlineno + 1)
        ),
    )
    monkeypatch.setattr(hub, "snapshot_download", lambda name, **_: str(tmp_path / name.replace("/", "--")))
    with pytest.raises(PipeError, match=r"a--b/config\.json: No such file"):
        NETWORKS["hf"](Source("hf", tmp_path.__class__("a/b"), SIZE))
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(PipeError, match="is a file, and a folder is expected"):
        NETWORKS["hf"](Source("hf", tmp_path / "model.safetensors", SIZE))
    with pytest.raises(PipeError, match="there is no such folder"):
        NETWORKS["hf"](Source("hf", tmp_path / "absent", SIZE))


@pytest.mark.slow
@pytest.mark.parametrize("size", [(1051, 1867), (333, 1021), (2048, 1024)])
@pytest.mark.parametrize("rule", ["windows:80", "pad:80"])
def test_pictures_come_to_eomt_as_the_library_brings_them(tmp_path, size, rule):
    """Windows, and padding in black, at sizes where it is no matter that the library cuts fractions of pixels off."""
    processors = pytest.importorskip("transformers.models.eomt.image_processing_pil_eomt")
    edges = {"shortest_edge": 80, "longest_edge": 80 if rule == "pad:80" else None}
    processor = processors.EomtImageProcessorPil(size=edges, do_split_image=rule != "pad:80", do_pad=rule == "pad:80")
    pixels = np.random.default_rng(0).integers(0, 256, (*(-(-side // 32) for side in size), 3), np.uint8)
    picture = Image.fromarray(pixels).resize(size[::-1], Image.Resampling.NEAREST)
    picture.save(tmp_path / "a.png")
    prepared = prepare(Sample("a.png", tmp_path / "a.png"), Resize.parse(rule, 16))
    network = SimpleNamespace(preprocessing=Preprocessing(mean=(0.5, 0.5, 0.5)))
    colour = Model.padding_colour.fget(SimpleNamespace(resize=Resize.parse(rule), network=network))
    ours = _to_device(prepared.crops(), torch.device("cpu"), prepared.frame.padded, colour)
    theirs = processor(images=picture, return_tensors="pt")["pixel_values"]
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (processor.image_mean, processor.image_std))
    assert ours.shape == theirs.shape
    assert torch.allclose((ours - mean) / std, theirs, atol=1e-5)
