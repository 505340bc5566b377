"""`pipe fit` at the command line."""

import json
from pathlib import Path

import pytest
from conftest import fails
from pages import call
from stores import fill, make_schema


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return fill(tmp_path / "enet.zarr", make_schema("pixel"), codes=(0, 255))


def test_it_writes_two_files_and_says_what_it_fitted(store, tmp_path):
    result = call("fit", store, "--out", tmp_path / "enet", "--temperatures", "0.5,1", "--methods", "msp,maxlogit")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.splitlines() == [str(tmp_path / f"enet.{end}") for end in ("json", "npz")]
    assert "the masks of Tiny name no classes, so that no temperature is fitted" in result.stderr
    (network,) = json.loads((tmp_path / "enet.json").read_text())["networks"]
    assert (network["network"], network["weights_sha256"], network["images"]) == ("enet", "00" * 32, 3)
    assert [each["store"] for each in network["stores"]] == [str(store)]
    assert len(network["stores"][0]["fingerprint"]) == 64
    assert [(each["method"], each["temperature"]) for each in network["scores"]] == [
        ("msp", 0.5),
        ("msp", 1),
        ("maxlogit", None),
    ]
    fails(call("fit", store, "--out", tmp_path / "enet.json"), _replaced(tmp_path / "enet.json"))


def _replaced(path: Path) -> str:
    return f"pipe: {path} is there already; name another place with --out, or replace it with --overwrite"


@pytest.mark.slow
def test_where_no_temperature_is_the_best(store, tmp_path):
    """Logits of noise: the less they say, the better."""
    result = call("fit", store, "--out", tmp_path / "x", "--methods", "msp", "--class-codes", "road=0")
    assert result.exit_code == 0, result.stderr
    assert "no temperature from 1/64 to 64 has the least NLL" in result.stderr
    assert json.loads((tmp_path / "x.json").read_text())["networks"][0]["least_nll"] is None


def test_images_with_anomalies_are_left_out_and_that_is_said(tmp_path):
    store = fill(tmp_path / "enet.zarr", make_schema("pixel"))
    line = f"pipe: {store}: no image is without an anomaly, so that there is nothing to fit on"
    result = call("fit", store, "--out", tmp_path / "x")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1] == line
    assert not list(tmp_path.glob("x.*"))


def test_what_is_incomplete(tmp_path):
    store = fill(tmp_path / "enet.zarr", make_schema("pixel"), images=[0], codes=(0,))
    assert call("fit", store, "--out", tmp_path / "x").exit_code == 3
    assert call("fit", store, "--out", tmp_path / "x", "--allow-incomplete", "--methods", "msp").exit_code == 0
