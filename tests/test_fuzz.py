"""Anything at all as metadata, record, chunk, config, checkpoint, mask or option: an object or an error of ours."""

import copy
import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from fuzz_targets import CONFIG, TARGETS, seeds
from hostile import bounded
from hypothesis import given, settings
from hypothesis import strategies as st

from logitpipe.cache.format.schema import fingerprint

SEEDS = seeds()
EVERY = settings(max_examples=150, deadline=None)  # `bounded` has its own
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([0, -1, 1 << 31, 1 << 63, 10**30, 10**400, 1e300, 5e-324, -0.0])
    | st.floats(allow_nan=True)
    | st.text()
    | st.sampled_from(["pixel", "mask", "float16", "float32", "x" * 10_000, "../../etc/passwd", "\x1b[31m"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def places(document: object, at: tuple = ()) -> list[tuple]:
    """Where anything lies in a document."""
    inner = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    return [at, *(place for key, value in inner for place in places(value, (*at, key)))]


@st.composite
def changed(draw: st.DrawFn, document: object) -> object:
    """A document in which a few values are others, are gone or are there under another name."""
    document = copy.deepcopy(document)
    for _ in range(draw(st.integers(1, 3))):
        *way, last = draw(st.sampled_from(places(document)[1:] or [(None,)]))
        parent = document
        for key in way:
            parent = parent[key]
        how = draw(st.sampled_from(["set", "drop", "add"]))
        if last is None:
            return document
        if how == "drop":
            del parent[last]
        elif how == "add" and isinstance(parent, dict):
            parent[draw(st.text())] = draw(VALUES)
        else:
            parent[last] = draw(VALUES)
    return document


def with_digest(document: object, name: str) -> object:
    """A document under the digest that fits it, as who wants to be believed would write it."""
    if not isinstance(document, dict):
        return document
    rest = {key: value for key, value in document.items() if key != name}
    try:
        return rest | {name: fingerprint(rest)}
    except ValueError:  # NaN
        return document


def attack(target: str, data: bytes) -> None:
    with bounded():
        TARGETS[target](data)


@pytest.mark.parametrize("target", TARGETS)
def test_the_seeds_mean_something(target):
    assert SEEDS[target]
    for data in SEEDS[target]:
        attack(target, data)


@pytest.mark.parametrize("target", TARGETS)
@settings(max_examples=50, deadline=None)
@given(data=st.binary(max_size=400))
def test_any_bytes(target, data):
    attack(target, data)


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
@EVERY
@given(data=st.data())
def test_a_meaning_input_with_some_bytes_changed(target, data):
    content = bytearray(data.draw(st.sampled_from(SEEDS[target])))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content)))
        length = data.draw(st.integers(0, 8))
        content[at : at + length] = data.draw(st.binary(max_size=8))
    attack(target, bytes(content))


@EVERY
@given(data=st.data())
def test_attributes_that_lie_with_a_fingerprint(data):
    metadata = json.loads(data.draw(st.sampled_from(SEEDS["metadata"])))
    metadata["attributes"] = with_digest(data.draw(changed(metadata["attributes"])), "fingerprint")
    attack("metadata", json.dumps(metadata).encode())


@EVERY
@given(data=st.data())
def test_metadata_of_another_form(data):
    metadata = data.draw(changed(json.loads(data.draw(st.sampled_from(SEEDS["metadata"])))))
    attack("metadata", json.dumps(metadata).encode())


@EVERY
@given(data=st.data())
def test_records_that_lie_with_a_digest(data):
    document = data.draw(changed(json.loads(data.draw(st.sampled_from(SEEDS["record"])))))
    attack("record", json.dumps(with_digest(document, "sha256")).encode())


@EVERY
@given(data=st.data())
def test_configs_of_another_form(data):
    import yaml

    config = data.draw(changed(yaml.safe_load(CONFIG)))
    style = data.draw(st.sampled_from([None, True, False]))
    attack("config", yaml.safe_dump(config, default_flow_style=style, allow_unicode=True).encode("utf-8", "replace"))


@EVERY
@given(text=st.text("normal=,mvid0123456789+-:.eE xX/_ infa\u0663\u00b2\n", max_size=40))
@pytest.mark.parametrize("target", ["label-codes", "temperatures", "choices", "sizes"])
def test_texts_of_the_right_letters(target, text):
    attack(target, text.encode())


@pytest.mark.parametrize("target", ["label-codes", "temperatures", "choices", "sizes"])
@pytest.mark.parametrize("digits", [400, 5000])
def test_numbers_of_many_digits(target, digits):
    n = "9" * digits
    for text in (
        f"normal=0,anomaly={n}",
        f"normal=0,anomaly=1-{n}",
        f"{n},1",
        f"1:{n}:1",
        f"-{n}:{n}:1e-300",
        f"1e308:{n}:1",
        "-1e308:1e308:1",
        "1:2:5e-324",
        f"thin-above={n}",
        f"{n}x{n}",
        f"0/{n}",
    ):
        attack(target, text.encode())


YAML_BOMBS = {
    "laughs": "a: &a [x, x]\n"
    + "".join(f"{b}: &{b} [*{a}, *{a}]\n" for a, b in zip("abcdefghijk", "bcdefghijkl", strict=True)),
    "merges": "a: &a {x: 1}\n"
    + "".join(f"{b}: &{b} {{<<: [*{a}, *{a}]}}\n" for a, b in zip("abcdefghijk", "bcdefghijkl", strict=True)),
    "circle": "a: &a [*a]",
    "circle of merges": "a: &a {<<: *a}",
    "flow": "[" * 60_000,
    "blocks": "- " * 30_000,
    "mappings": "".join(" " * i + "a:\n" for i in range(340)),
    "object": "!!python/object/apply:os.system ['true']",
    "binary": "a: !!binary x",
    "no int": "a: !!int ''",
    "no float": "a: !!float x",
    "no date": "a: 2000-99-99",
    "no time": "a: 2000-01-01 99:99:99",
    "decimal": "a: " + "9" * 60_000,
    "hexadecimal": "a: 0x" + "f" * 60_000,
    "sexagesimal": "a: 1" + ":59" * 20_000,
    "sexagesimal fraction": "a: 1" + ":59" * 20_000 + ".5",
    "huge float": "a: 1e999999999",
    "key": "? [a, b]\n: c",
    "mapping as key": "? {a: b}\n: c",
    "documents": "a: b\n---\nc: d",
    "long": "a: b\n" * 100_000,
    "NUL": "a: \x00",
    "equals": "=: =",
}


@pytest.mark.parametrize("name", YAML_BOMBS)
@pytest.mark.parametrize("place", ["top", "within the network", "as a fact"])
def test_yaml_that_grows_or_acts(name, place):
    bomb = YAML_BOMBS[name]
    within = "\n".join("        " + line for line in bomb.splitlines())
    text = {
        "top": bomb + "\n" + CONFIG.decode(),
        "within the network": CONFIG.decode().replace("        num_q: 7\n", within + "\n"),
        "as a fact": CONFIG.decode().replace("num_q: 7", "num_q: " + bomb.partition(": ")[2].split("\n")[0]),
    }
    attack("config", text[place].encode())


@pytest.mark.skipif(find_spec("atheris") is None, reason="atheris is not installed")
def test_the_campaign_runs_and_counts():
    words = [sys.executable, "-m", "tests.campaigns.fuzz", "--seconds", "1", "--target", "label-codes"]
    done = subprocess.run(words, capture_output=True, text=True, cwd=Path(__file__).parents[1], check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("label-codes: ")
    assert done.stdout.endswith(" inputs, no fault\n")
