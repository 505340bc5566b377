"""A class that a network was trained to give to what it does not know is none of the known ones."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from logitpipe.cache import StoreWriter
from logitpipe.cache.format.version1 import Schema
from logitpipe.cli import cli

KNOWN = tuple(f"class {index}" for index in range(19))


@pytest.mark.parametrize("place", [19, 0])
def test_a_mask_network_with_an_outlier_class(tmp_path, place):
    """Query 0 claims the left half with a known class, query 1 the anomalous right half with the outlier."""
    schema = Schema(
        kind="mask",
        network="eomt",
        facts={},
        weights_sha256="0" * 64,
        dataset="Halves",
        classes=(*KNOWN[:place], "outlier", *KNOWN[place:]),
        void_class=place,
        input_size=(64, 64),
        logits_shape=(2, 16, 16),
        precision="float16",
        preprocessing={},
        images=("0.png",),
        label_shape=(16, 16),
        software={},
    )
    masks, classes = np.full((2, 16, 16), -8, np.float16), np.full((2, 21), -4, np.float32)
    masks[0, :, :8] = masks[1, :, 8:] = 8
    classes[0, 5] = classes[1, place] = 6
    labels = np.zeros((16, 16), np.uint8)
    labels[:, 8:] = 1
    values = {
        "mask_logits": masks,
        "class_logits": classes,
        "labels": labels,
        "preview": np.zeros((32, 32, 3), np.uint8),
    }
    StoreWriter(tmp_path / "store", schema).commit(0, values, {})
    result = CliRunner().invoke(cli, ["score", str(tmp_path / "store"), "--temperatures", "0.5,1", "--json"])
    assert result.exit_code == 0, result.stderr
    rows = json.loads(result.stdout)["results"]
    assert len(rows) > 15
    assert {(row["method"], row["auroc"]) for row in rows if row["auroc"] < 0.999} == set()
