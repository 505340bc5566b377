"""What docs/extending.md shows is run: a statistic from outside the project, its totals summed in any division."""

import re
from pathlib import Path

import numpy as np
import pytest
from stores import fill, make_schema

from logitpipe.cache import open_store
from logitpipe.stages.score.labels.ground_truth import GroundTruth
from logitpipe.stages.score.passes.walk import walk
from logitpipe.stages.score.plan import make_plan
from logitpipe.stages.score.protocols import PROTOCOLS

PAGE = (Path(__file__).parents[2] / "docs" / "extending.md").read_text(encoding="utf-8")
BLOCKS = dict(re.findall(r"<!-- python: (\w+) -->\n```python\n(.*?)```", PAGE, re.DOTALL))


def test_a_statistic_from_outside_is_walked_and_travels(tmp_path, monkeypatch, capsys):
    fill(tmp_path / "enet.zarr", make_schema("pixel"))
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(BLOCKS["gap"] + BLOCKS["walk"], names)  # the page's own code
    printed = float(capsys.readouterr().out)

    store, statistic = open_store(Path("enet.zarr")), names["statistic"]
    gaps = []
    for image in range(3):
        truth = GroundTruth(store, statistic.plan.protocol, [image])
        part = walk(truth, [image], statistic, 1, lambda: None)
        gaps.append(statistic.finish(statistic.from_arrays(part.to_arrays())))
    assert printed == pytest.approx(np.mean(gaps))
    assert printed != 0


@pytest.mark.parametrize("workers", [1, 3])
def test_its_total_is_the_same_with_any_number_of_workers(tmp_path, workers):
    store = open_store(fill(tmp_path / "enet.zarr", make_schema("pixel", images=[f"{i}.png" for i in range(7)])))
    names: dict = {}
    exec(BLOCKS["gap"], names)
    statistic = names["MeanGap"](make_plan(store.schema, PROTOCOLS["standard"], ["msp"], [2.0]))
    truth, counted = GroundTruth(store, PROTOCOLS["standard"], range(7)), []
    total = walk(truth, range(7), statistic, workers, lambda: counted.append(1))
    assert len(counted) == total.images == 7  # more than one image, or the sum would show nothing
    alone = walk(truth, range(7), statistic, 1, lambda: None)
    assert dict(sorted(total.by_image.items())) == dict(sorted(alone.by_image.items()))
