"""Going on with a store: files that are as they were are not read, those that changed are named."""

import os

import pytest
from conftest import fails
from PIL import Image

from logitpipe.stages.infer import resume


@pytest.fixture
def read(run, monkeypatch):
    """Names of the files that a later run reads to compare them; a store is there."""
    assert run().exit_code == 0
    seen = []

    def noted(path):
        seen.append(path.name)
        return path.read_bytes()

    monkeypatch.setattr(resume, "read_bytes", noted)
    return seen


def test_files_that_are_as_they_were_are_not_read(run, read):
    assert run().exit_code == 0
    assert read == []


def test_a_file_that_was_only_touched_is_read_and_taken(run, read, data_root):
    os.utime(data_root / "Tiny" / "images" / "2.png", ns=(1, 1))
    assert run().exit_code == 0
    assert read == ["2.png"]


def test_each_shard_looks_at_its_own_files(run, read, data_root, tmp_path):
    picture = data_root / "Tiny" / "images" / "3.png"
    Image.open(picture).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(picture)
    assert run("--shard", "0/2").exit_code == 0
    fails(
        run("--shard", "1/2"),
        f"pipe: {tmp_path / 'store'}: image '3.png' was computed from another {picture} than lies there now; "
        "restore the file, choose another --out, or start anew with --overwrite",
    )
    assert read == ["3.png"]
