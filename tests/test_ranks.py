"""Which process of how many this one is, as launchers say it."""

import pytest

from logitpipe.stages import cores
from logitpipe.stages.cores import cores_of_rank
from logitpipe.stages.ranks import rank, rank_on_node, ranks_on_node

TORCHRUN = {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4"}
SRUN = {
    "SLURM_PROCID": "5",
    "SLURM_STEP_ID": "0",
    "SLURM_STEP_NUM_TASKS": "9",
    "SLURM_NTASKS": "9",
    "SLURM_LOCALID": "1",
    "SLURM_STEP_TASKS_PER_NODE": "4(x2),1",
}
SBATCH = {"SLURM_PROCID": "0", "SLURM_NTASKS": "9", "SLURM_LOCALID": "0", "SLURM_TASKS_PER_NODE": "4(x2),1"}


@pytest.mark.parametrize(
    ("environment", "found", "on_node", "ranks"),
    [
        ({}, None, 0, 1),
        (TORCHRUN, ("5", "8", "RANK and WORLD_SIZE"), 1, 4),
        (SRUN, ("5", "9", "SLURM_PROCID and SLURM_STEP_NUM_TASKS"), 1, 4),
        (SBATCH, None, 0, 1),
        (SBATCH | TORCHRUN, ("5", "8", "RANK and WORLD_SIZE"), 1, 4),  # torchrun in a script of sbatch
        (SRUN | TORCHRUN, ("5", "8", "RANK and WORLD_SIZE"), 1, 4),  # torchrun that srun has started on each node
        ({"RANK": "5"}, None, 0, 1),
        ({"SLURM_JOB_ID": "7", "SLURM_NTASKS": "9"}, None, 0, 1),  # a shell of salloc
    ],
)
def test_a_rank_is_what_a_launcher_started(environment, found, on_node, ranks):
    assert (rank(environment), rank_on_node(environment), ranks_on_node(environment)) == (found, on_node, ranks)


@pytest.mark.parametrize(
    ("environment", "found"),
    [
        ({}, 224),
        (TORCHRUN, 56),
        (SRUN, 56),
        (SRUN | {"SLURM_CPUS_PER_TASK": "16"}, 16),
        (SBATCH | {"SLURM_CPUS_PER_TASK": "16"}, 224),  # of the tasks that it may start, not of itself
        (TORCHRUN | {"LOCAL_WORLD_SIZE": "1000"}, 1),
    ],
)
def test_ranks_of_a_machine_share_its_cores(monkeypatch, environment, found):
    monkeypatch.setattr(cores, "available_cores", lambda: 224)
    assert cores_of_rank(environment) == found
