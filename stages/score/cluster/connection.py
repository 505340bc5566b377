"""The way to a cluster: one that runs, or one that is started here for as long as it is needed."""

import json
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from distributed import Client, LocalCluster

from logitpipe.cache import PipeError, UsageError
from logitpipe.stages.score.cluster.walk import ClusterWalk

PATIENCE = 60
"""Seconds to wait for a first worker, and for a scheduler to answer."""


@contextmanager
def cluster_walk(where: str) -> Iterator[ClusterWalk]:
    """Connect to a cluster, and give the walk that it does.

    Parameters
    ----------
    where : address of a Dask scheduler, such as tcp://node7:8786; the path of its scheduler file, *.json; or local:N,
        for N processes of this machine

    Raises
    ------
    UsageError
        It is none of these.
    PipeError
        No scheduler answers, it has no workers, or one of them may not score.
    """
    silence()
    kind, _, count = where.partition(":")
    if kind == "local":
        if not (count.isdecimal() and int(count)):
            raise UsageError(f"local:N is the form, such as local:4, and {where!r} was found")
        # Port 0: the usual one may be taken by another run, and Dask would say so at length.
        with (
            LocalCluster(
                n_workers=int(count), threads_per_worker=1, dashboard_address=":0", silence_logs=logging.CRITICAL
            ) as cluster,
            Client(cluster) as client,
        ):
            yield ClusterWalk(client)
        return
    with _connected(where) as client:
        yield ClusterWalk(client)


def silence() -> None:
    """Keep Dask from logging, with tracebacks, what this package says in an error's one line."""
    # One by one: Dask gives some loggers, such as that of the client, a level of their own.
    for name in ["distributed", *logging.root.manager.loggerDict]:
        if name.partition(".")[0] == "distributed":
            logging.getLogger(name).setLevel(logging.CRITICAL)


@contextmanager
def _connected(where: str) -> Iterator[Client]:
    address = _address_in(Path(where)) if where.endswith(".json") else where
    try:
        client = Client(address, timeout=PATIENCE)
    except (OSError, ValueError) as error:
        raise PipeError(f"no Dask scheduler answers at {where} ({error})", "start-cluster") from error
    with client:
        try:
            client.wait_for_workers(1, timeout=PATIENCE)
        except TimeoutError:
            raise PipeError(f"the Dask scheduler at {where} has no worker", "start-cluster") from None
        yield client


def _address_in(file: Path) -> str:
    """Return the address in a scheduler's file; Dask itself would wait for the file for ever.

    Raises
    ------
    PipeError
        Nobody writes one in time, or the file is another.
    """
    end = time.monotonic() + PATIENCE
    while True:
        try:
            return str(json.loads(file.read_text(encoding="utf-8"))["address"])
        except (KeyError, TypeError):
            raise PipeError(f"{file}: this is not the file of a Dask scheduler", "start-cluster") from None
        # The scheduler may have been started a moment ago, and may be in the middle of writing.
        except (OSError, ValueError) as error:
            if time.monotonic() > end:
                raise PipeError(f"no Dask scheduler answers at {file} ({error})", "start-cluster") from error
        time.sleep(0.1)
