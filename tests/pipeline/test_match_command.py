"""`pipe match` at the command line."""

import json
from pathlib import Path

import pytest
from conftest import fails
from pages import call
from stores import fill, make_schema


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Path:
    return fill(tmp_path_factory.mktemp("match") / "enet.zarr", make_schema("pixel"))


def test_it_lists_the_nearest_with_their_distance_and_in_words(store):
    (scored,) = json.loads(
        call("score", store, "--protocol", "course", "--methods", "void", "--json", "--resolve", "all").stdout
    )["results"]
    numbers = ["--auprc", 100 * scored["auprc"], "--fpr95", 100 * scored["fpr95"]]
    words = [store, *numbers, "--methods", "void,maxlogit", "--temperatures", "0.5,1", "--limit", "3"]
    result = call("match", *words)
    assert result.exit_code == 0, result.stderr
    header, wanted, first, *_ = result.stdout.splitlines()
    assert header.split() == ["network", "method", "T", "protocol", "AuPRC", "FPR95", "distance"]
    figures = [f"{100 * scored[name]:.3f}" for name in ("auprc", "fpr95")]
    assert wanted.split() == ["looked", "for", *figures]
    assert first.split() == ["1", "enet", "void", "1", "course", *figures, "0.000"]
    line = next(line for line in result.stdout.splitlines() if line.startswith("1: "))
    assert line.startswith("1: void is softmax(z/T) over all channels, the void channel at T = 1; ")
    assert "pixels are evaluated at the network's size; FPR95 is interpolated" in line

    matches = json.loads(call("match", *words, "--json").stdout)
    assert len(matches) == 3
    assert (matches[0]["method"], matches[0]["protocol"]) == ("void", "course")
    assert matches[0]["distance"] < 1e-9


def test_temperatures_of_the_class_map_are_tried(tmp_path):
    store = fill(tmp_path / "eomt.zarr", make_schema("mask"))
    words = ["--methods", "softmax-msp", "--map-temperatures", "0.3", "--json", "--resolve", "all"]
    (scored,) = json.loads(call("score", store, *words).stdout)["results"]
    numbers = ["--auprc", 100 * scored["auprc"], "--fpr95", 100 * scored["fpr95"]]
    result = call("match", store, *numbers, "--methods", "softmax-msp", "--temperatures", "0.3,1", "--json")
    assert result.exit_code == 0, result.stderr
    first, *_ = json.loads(result.stdout)
    assert (first["temperature"], first["map_temperature"], first["protocol"]) == (1, 0.3, "standard")
    assert first["distance"] < 1e-9


def test_without_numbers_there_is_nothing_to_look_for(store):
    line = "pipe: say what was printed, with --auprc, --fpr95 or --auroc"
    fails(call("match", store), line, code=2)
    assert call("match", store, "--auprc", "101").exit_code == 2
