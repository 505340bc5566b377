"""Walks by a Dask cluster: bit for bit the figures of one machine, with any number of workers, whichever dies."""

import logging
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from conftest import fails, refused
from stores import fill, make_schema

from logitpipe.cache import IntegrityError, PipeError, Store, open_store
from logitpipe.cli import cli
from logitpipe.stages.score.cluster import connection, parcels
from logitpipe.stages.score.cluster import walk as cluster_walk
from logitpipe.stages.score.cluster.crew import require_alike
from logitpipe.stages.score.cluster.environment import environment, unlike
from logitpipe.stages.score.cluster.parcels import pack_arrays, pack_walk, unpack_arrays, unpack_walk
from logitpipe.stages.score.cluster.tasks import Part, merge, score_block
from logitpipe.stages.score.cluster.walk import (
    FAN,
    GROUPS_AT_A_TIME,
    MOST_IMAGES,
    ClusterWalk,
    block_size,
    group_size,
)
from logitpipe.stages.score.figures.components import OBJECT_SIZES
from logitpipe.stages.score.figures.open_set import RULES
from logitpipe.stages.score.kernels.counting.laid import Laid, cell_count
from logitpipe.stages.score.labels.ground_truth import GroundTruth
from logitpipe.stages.score.labels.spaces import label_space
from logitpipe.stages.score.passes.closed_set import ClassTruth, class_table, closed_set_rows
from logitpipe.stages.score.passes.components import component_rows
from logitpipe.stages.score.passes.fit import Fit, fit, fitting_protocol
from logitpipe.stages.score.passes.open_set import open_set_rows
from logitpipe.stages.score.passes.sweep import sweep
from logitpipe.stages.score.passes.walk import Walk, walk
from logitpipe.stages.score.plan import Plan, make_plan
from logitpipe.stages.score.protocols import PROTOCOLS, with_choices
from logitpipe.stages.score.statistics import Statistic
from logitpipe.stages.score.statistics.class_counts import ClassCounts
from logitpipe.stages.score.statistics.components import Components
from logitpipe.stages.score.statistics.gaps import Gaps, Positives
from logitpipe.stages.score.statistics.histograms import Histograms
from logitpipe.stages.score.statistics.in_distribution import InDistribution
from logitpipe.stages.score.statistics.open_set import OpenSet
from logitpipe.stages.score.statistics.percentile_curve import PercentileCurve
from logitpipe.stages.score.statistics.single_images import ImageAreas

IMAGES = 16
KNOWN = {"road": 0, "car": 1, "sky": 2}
PROTOCOL = with_choices(PROTOCOLS["standard"], {"label-codes": "normal=0-2,anomaly=9,void=255"})
WITHOUT_ANOMALY = with_choices(PROTOCOLS["standard"], {"label-codes": "normal=0-2,anomaly=10,void=9+255"})


def store_of(folder: Path, kind: str, images: int = IMAGES) -> Store:
    names = [f"{i}.png" for i in range(images)]
    return open_store(fill(folder / kind, make_schema(kind, images=names, version=2), codes=(0, 1, 2, 9, 255)))


@pytest.fixture(scope="module")
def stores(tmp_path_factory) -> dict[str, Store]:
    folder = tmp_path_factory.mktemp("stores")
    return {kind: store_of(folder, kind) for kind in ("pixel", "mask")}


def plan_of(store: Store) -> Plan:
    return make_plan(store.schema, PROTOCOL, ["msp", "entropy", "maxlogit"], (0.5, 1.0), (0.3,))


def everything(store: Store, walker: Walk, advance: Callable[[], None] = lambda: None) -> list[object]:
    """The figures of every family, from every statistic of the project that a cluster may be asked for."""
    plan, images, space = plan_of(store), store.completed(), label_space("own", store.schema)
    normal = make_plan(store.schema, fitting_protocol(WITHOUT_ANOMALY), ["msp", "maxlogit"], (1.0,))
    to_fit = Fit(store, normal, images, (space, class_table(store, space, KNOWN)))
    scored = sweep(store, plan, images, 1, advance, True, "all", True, walker=walker)
    rows = [each.row for each in scored]
    return [
        scored,
        component_rows(store, plan, images, rows, 1, advance, walker),
        closed_set_rows(store, PROTOCOL, space, KNOWN, (0.5, 1.0), images, 1, advance, walker),
        open_set_rows(store, plan, space, KNOWN, images, rows, 1, advance, walker),
        sorted(walker(GroundTruth(store, PROTOCOL, images), images, ImageAreas(plan), 1, advance).by_image.items()),
        fit([to_fit], 1, advance, walker),
    ]


def spelt(figures: object) -> str:
    """Figures with every bit of them."""
    with np.printoptions(threshold=sys.maxsize, precision=17, floatmode="unique"):
        return repr(figures)


def eventually(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def workers_of(cluster: object, count: int) -> None:
    cluster.cluster.scale(count)
    eventually(lambda: len(cluster.nthreads()) == count)


@pytest.fixture(scope="module")
def cluster() -> Iterator[object]:
    """A cluster of four processes, and a client of it."""
    import logging

    from distributed import Client, LocalCluster

    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    with (
        LocalCluster(
            n_workers=4, threads_per_worker=1, dashboard_address=":0", silence_logs=logging.CRITICAL
        ) as four,
        Client(four) as client,
    ):
        yield client


@pytest.mark.slow
def test_any_number_of_workers_gives_the_same_bits_and_one_may_die(stores, cluster):
    alone = {kind: spelt(everything(store, walk)) for kind, store in stores.items()}
    assert all("auprc=0." in figures for figures in alone.values())

    killed = []

    def kill_one() -> None:
        if not killed:
            killed.append(cluster.run(os.getpid))
            os.kill(next(iter(killed[0].values())), signal.SIGKILL)

    four = ClusterWalk(cluster)
    assert four.threads == 4
    assert spelt(everything(stores["pixel"], four, kill_one)) == alone["pixel"]
    assert killed
    assert sum(four.processors.values()) == IMAGES
    for workers, kind in ((2, "pixel"), (2, "mask"), (1, "pixel")):
        workers_of(cluster, workers)
        assert spelt(everything(stores[kind], ClusterWalk(cluster))) == alone[kind], (kind, workers)


@pytest.mark.slow
def test_the_scheduler_knows_few_groups_of_blocks_whatever_the_number_of_images(stores, cluster, monkeypatch):
    for name, small in (("MOST_IMAGES", 1), ("FAN", 2)):
        monkeypatch.setattr(cluster_walk, name, small)
    store, known, images = stores["pixel"], [], [*range(IMAGES)] * 4
    truth = ClassTruth(store, PROTOCOL, class_table(store, label_space("own", store.schema), KNOWN))
    tasks, found = cluster.cluster.scheduler.tasks, ClusterWalk(cluster)
    statistic = STATISTICS["classes"](store, plan_of(store))
    assert found(truth, images, statistic, 1, lambda: known.append(len(tasks))).images == len(images) == len(known)
    # A tree of twos has one task less above its leaves than it has leaves.
    of_group = 2 * group_size(found.threads) - 1
    assert len(images) > 4 * group_size(found.threads)
    # One more than are begun, as the last one of a group is let go after the next has begun.
    assert of_group < max(known) <= (GROUPS_AT_A_TIME + 1) * of_group + 1


@pytest.mark.slow
def test_processors_of_several_kinds_are_counted_and_keep_their_images(stores, cluster, monkeypatch):
    """A later pass looks for scores in the bins where an earlier one found them: on a processor that rounds alike."""
    workers_of(cluster, 2)

    def call_it(name: str) -> None:
        from logitpipe.stages.score.cluster import environment, tasks

        tasks.processor = environment.processor = lambda: name

    for address, name in zip(cluster.nthreads(), ("zen", "lake"), strict=True):
        cluster.run(call_it, name, workers=[address])
    store, found, seen = stores["pixel"], ClusterWalk(cluster), []
    note = found._note
    monkeypatch.setattr(found, "_note", lambda truth, each: (seen.append(each), note(truth, each)))
    truth, statistic = GroundTruth(store, PROTOCOL, range(IMAGES)), ImageAreas(plan_of(store))
    homes = []
    for _ in range(2):
        found(truth, range(IMAGES), statistic, 1, lambda: None)
        homes.append({each.images: each.processor for each in seen})
        seen.clear()
        assert sum(found.processors.values()) == IMAGES
        assert set(found.processors) == {"zen", "lake"}
    assert homes[0] == homes[1]


@pytest.mark.slow
def test_what_a_worker_may_not_do_ends_the_run_in_one_line(cluster, tmp_path):
    """Damage, a store that changes, a worker of another version: each is named."""
    store, advance = store_of(tmp_path, "pixel", 6), lambda: None
    found, plan = ClusterWalk(cluster), plan_of(store)
    run = partial(sweep, store, plan, range(6), 1, advance, walker=found)
    run()
    (chunk,) = Path(store.path, "labels").glob("c.3.*")
    whole = chunk.read_bytes()
    chunk.write_bytes(whole[:-1])
    with pytest.raises(IntegrityError, match=re.escape("image '3.png': labels/c.3.")):
        run()
    chunk.write_bytes(whole)
    run()

    def spoil() -> None:
        from logitpipe.stages.score.cluster import environment

        mine = environment.environment()
        environment.environment = lambda: mine | {"numba": "0.1"}

    # Of another mount: the path that the command knows leads nowhere on the machines of the workers.
    hidden = Path(store.path).rename(tmp_path / "elsewhere")
    line = f"the worker tcp://.* cannot open what the command has opened: {re.escape(str(store.path))}: expected a "
    with pytest.raises(PipeError, match=line) as error:
        ClusterWalk(cluster)(GroundTruth(store, PROTOCOL, range(6)), range(6), Histograms(store, plan), 1, advance)
    assert error.value.remedy == "shared-place"
    hidden.rename(store.path)

    (address, *_) = cluster.nthreads()
    cluster.run(spoil, workers=[address])
    with refused(
        f"the worker {address} has numba 0.1 where {environment()['numba']} is wanted; install the same release of "
        "logitpipe, numpy and numba on every machine"
    ):
        run()


STATISTICS: dict[str, Callable[[Store, Plan], Statistic]] = {
    "histograms": lambda store, plan: Histograms(store, plan),
    "histograms of images": lambda store, plan: Histograms(store, plan, per_image=True),
    "scores of all pixels": lambda store, plan: Histograms(store, plan, ordered=True),
    "histograms in laid bins": lambda store, plan: Histograms(store, plan, laid=laid(plan)),
    "scores of anomalous pixels": lambda store, plan: Positives(plan, pixels(store, plan)[1]),
    "gaps between these": lambda store, plan: gaps(store, plan),
    "areas of images": lambda _store, plan: ImageAreas(plan),
    "percentiles": lambda _store, plan: PercentileCurve(plan, IMAGES),
    "components": lambda _store, plan: Components(plan, limits_of(plan), list(OBJECT_SIZES.values())),
    "classes": lambda store, _plan: ClassCounts(
        *label_space("own", store.schema).channels(store.schema), 4, (0.5, 1.0)
    ),
    "scores where nothing is anomalous": lambda _store, plan: InDistribution(plan),
    "open set": lambda store, plan: OpenSet(plan, limits_of(plan), *channels_of(store), 4),
}
"""Every statistic, over a store of four classes."""


def channels_of(store: Store) -> tuple[np.ndarray, np.ndarray]:
    return label_space("own", store.schema).channels(store.schema)


def limits_of(plan: Plan) -> np.ndarray:
    return np.zeros((len(plan.pairs), len(RULES)), np.float32)


def pixels(store: Store, plan: Plan) -> tuple[int, int]:
    truth = GroundTruth(store, PROTOCOL, range(3))
    normal, anomalous = walk(truth, range(3), Histograms(store, plan), 1, lambda: None).pixels.tolist()
    return normal, anomalous


def laid(plan: Plan) -> tuple[Laid, ...]:
    bins = [plan.bins(pair) for pair in plan.pairs]
    return tuple(Laid(each, np.arange(cell_count(each), dtype=np.uint8) % 7) for each in bins)


def gaps(store: Store, plan: Plan) -> Gaps:
    truth, positives = GroundTruth(store, PROTOCOL, range(3)), Positives(plan, pixels(store, plan)[1])
    return Gaps(plan, positives.finish(walk(truth, range(3), positives, 1, lambda: None)))


@pytest.mark.parametrize("name", STATISTICS)
def test_every_statistic_travels_there_and_back(stores, name):
    """As a parcel to a worker and as arrays from it, also where a block counts no image; added up it is the whole."""
    store = stores["pixel"]
    plan = plan_of(store)
    statistic = STATISTICS[name](store, plan)
    truth = GroundTruth(store, PROTOCOL, range(3))
    if name == "classes":
        truth = ClassTruth(store, PROTOCOL, class_table(store, label_space("own", store.schema), KNOWN))
    parcel = pack_walk(truth, statistic, "a run")
    assert len(parcel.work) < 20_000
    there_truth, there = unpack_walk(parcel)
    assert there_truth.store is not store and there_truth.store.fingerprint == store.fingerprint
    assert there.plan.schema == plan.schema if hasattr(there, "plan") else True

    parts = [score_block(parcel, block) for block in ((0, 2), (1,))]
    parts.insert(1, Part(pack_arrays(statistic.zero().to_arrays()), 0, ()))
    merged = merge(parcel, parts)
    assert (merged.counted, [seen.images for seen in merged.seen]) == (3, [(0, 2), (1,)])
    total = statistic.from_arrays(unpack_arrays(merged.arrays))
    direct = walk(truth, (0, 2, 1), statistic, 1, lambda: None)
    assert total.images == direct.images == 3
    assert spelt(total.to_arrays()) == spelt(direct.to_arrays())


def test_a_parcel_does_not_grow_with_the_data_set(tmp_path):
    sizes = []
    for count in (3, 3000):
        schema = make_schema("pixel", images=[f"{i}.png" for i in range(count)], version=2)
        store = open_store(fill(tmp_path / str(count), schema, images=[0]))
        sizes.append(len(pack_walk(GroundTruth(store, PROTOCOL, [0]), Histograms(store, plan_of(store)), "run").work))
    assert abs(sizes[0] - sizes[1]) < 100


def test_a_method_of_ones_own_travels(stores, tmp_path):
    """The workers need no copy of the user's file."""
    file = tmp_path / "mine.py"
    file.write_text("import numpy as np\n\ndef spread(logits, T):\n    return np.tanh(logits / T).std(axis=0)\n")
    store = stores["pixel"]
    plan = make_plan(store.schema, PROTOCOL, ["msp", f"{file}:spread"], (1.0,))
    parcel = pack_walk(GroundTruth(store, PROTOCOL, [0]), Histograms(store, plan), "a run of its own")
    file.unlink()
    part = score_block(parcel, (0, 1))
    direct = walk(GroundTruth(store, PROTOCOL, [0]), (0, 1), Histograms(store, plan), 1, lambda: None)
    assert spelt(unpack_arrays(part.arrays)) == spelt(direct.to_arrays())


def test_a_worker_that_is_not_the_same_refuses(stores, tmp_path):
    store = stores["pixel"]
    parcel = pack_walk(GroundTruth(store, PROTOCOL, [0]), Histograms(store, plan_of(store)), "run")
    newer = {**dict(parcel.environment), "numba": "99"}
    mine = environment()["numba"]
    with refused(f"this worker has numba {mine} where 99 is wanted"):
        unpack_walk(replace(parcel, environment=tuple(newer.items())))
    other = store_of(tmp_path, "mask", 1)
    with refused(f"{other.path}: another store lies there than on the machine that scores"):
        unpack_walk(replace(parcel, place=str(other.path)))


def test_workers_that_may_not_score_are_named():
    mine = {"logitpipe": "0.2", "sources": "abc"}
    require_alike({"tcp://a:1": (mine, "zen"), "tcp://gone:1": OSError("closed")}, mine)
    with refused("the worker tcp://b:2 has logitpipe 0.1 where 0.2 is wanted, sources missing where abc is wanted"):
        require_alike({"tcp://a:1": (mine, "zen"), "tcp://b:2": ({"logitpipe": "0.1"}, "zen")}, mine)
    gone = ModuleNotFoundError("No module named 'logitpipe'")
    with refused("the worker tcp://c:3 cannot import logitpipe (No module named 'logitpipe'); so do 1 others of 2"):
        require_alike({"tcp://c:3": gone, "tcp://d:4": gone}, mine)
    assert unlike(mine, mine) == ""


@pytest.mark.parametrize(("threads", "images"), [(1, 1), (2, 7), (4, 160), (1000, 10**4), (3, 1000), (9, 10**9)])
def test_every_thread_has_blocks_and_groups_grow_with_the_workers(threads, images):
    assert 1 <= block_size(images, threads) <= MOST_IMAGES
    assert images / block_size(images, threads) >= min(images, 4 * threads)
    assert 2 * threads <= group_size(threads) <= max(FAN * FAN, 2 * FAN * threads)


def test_arrays_come_back_as_they_were(monkeypatch):
    arrays = {
        "a": np.arange(1000),
        "b": np.zeros((0, 3), np.float32),
        "c": np.array(7),
        "d": np.ones((3, 5), np.uint8),
    }
    for piece in (parcels.PIECE_BYTES, 64):
        monkeypatch.setattr(parcels, "PIECE_BYTES", piece)
        back = unpack_arrays(pack_arrays(arrays))
        assert {name: (a.dtype, a.shape, a.tolist()) for name, a in back.items()} == {
            name: (a.dtype, a.shape, a.tolist()) for name, a in arrays.items()
        }


@pytest.mark.parametrize(
    ("flags", "line", "code"),
    [
        (["--dask", "local:0"], "pipe: local:N is the form, such as local:4, and 'local:0' was found", 2),
        (["--dask", "local:2", "--exact"],
         "pipe: --exact sorts every score on the disk of one machine; leave --dask or --exact out", 2),
        (["--dask", "tcp://127.0.0.1:9"], None, 1),
    ],
    ids=["form", "exact", "nobody"],
)  # fmt: skip
def test_what_cannot_be_done_is_said_in_one_line(pixel_store, monkeypatch, flags, line, code):
    monkeypatch.setattr(connection, "PATIENCE", 0.5)
    result = CliRunner().invoke(cli, ["score", str(pixel_store), *flags])
    if line:
        fails(result, line, code)
    else:
        assert (result.exit_code, result.stdout) == (code, "")
        assert result.stderr.splitlines()[-1].startswith("pipe: no Dask scheduler answers at tcp://127.0.0.1:9 (")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (None, "no Dask scheduler answers at"),
        ("{", "no Dask scheduler answers at"),
        ("[]", "this is not the file of"),
    ],
)
def test_a_scheduler_file_is_not_waited_for_for_ever(pixel_store, tmp_path, monkeypatch, text, line):
    monkeypatch.setattr(connection, "PATIENCE", 0)
    file = tmp_path / "scheduler.json"
    if text is not None:
        file.write_text(text)
    result = CliRunner().invoke(cli, ["score", str(pixel_store), "--dask", str(file)])
    assert (result.exit_code, result.stdout) == (1, "")
    assert line in result.stderr.splitlines()[-1]


def test_dask_logs_nothing_beside_the_one_line_of_an_error():
    logger = logging.getLogger("distributed.client")
    before = logger.level
    try:
        logger.setLevel(logging.WARNING)  # as Dask's own configuration does
        connection.silence()
        assert not logger.isEnabledFor(logging.ERROR)
    finally:
        logger.setLevel(before)


def test_fit_asks_for_a_cluster_as_score_does(pixel_store, tmp_path):
    result = CliRunner().invoke(cli, ["fit", str(pixel_store), "--out", str(tmp_path / "f"), "--dask", "local:0"])
    fails(result, "pipe: local:N is the form, such as local:4, and 'local:0' was found", 2)


def test_without_dask_it_is_said_what_to_install(pixel_store, monkeypatch):
    for name in [name for name in sys.modules if name.startswith("logitpipe.stages.score.cluster.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "distributed", None)
    result = CliRunner().invoke(cli, ["score", str(pixel_store), "--dask", "local:1"])
    line = "pipe: a cluster is used through distributed, which is not installed; "
    fails(result, f"{line}run pip install '.[dask]' in the project's folder")
