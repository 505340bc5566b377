"""Which of how many processes this one is, as torchrun and srun say it in the environment."""

import os
import re
from collections.abc import Mapping

LAUNCHERS: tuple[tuple[str, str], ...] = (("RANK", "WORLD_SIZE"), ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS"))
"""Variables of the rank and of the number of ranks: torchrun's, then srun's."""

STEP = "SLURM_STEP_ID"
"""Only what srun starts is a step. A script of sbatch has SLURM_PROCID=0 and SLURM_NTASKS too, and is one process."""


def rank(environment: Mapping[str, str] = os.environ) -> tuple[str, str, str] | None:
    """Return the rank, the number of ranks, both as text, and the two variables; None for a process by itself."""
    for variables in LAUNCHERS:
        index, count = (environment.get(name, "") for name in variables)
        is_step = environment.get(STEP, "").isdecimal()
        if index and count and (is_step or not variables[0].startswith("SLURM")):
            return index, count, " and ".join(variables)
    return None


def rank_on_node(environment: Mapping[str, str] = os.environ) -> int:
    """Return which of this machine's processes this one is, from 0; it takes the GPU of that number."""
    return next((int(text) for text in _of_node(environment, "LOCAL_RANK", "SLURM_LOCALID") if text.isdecimal()), 0)


def ranks_on_node(environment: Mapping[str, str] = os.environ) -> int:
    """Return how many ranks share this machine, at least 1; the most of any machine where only that is known."""
    found = _of_node(environment, "LOCAL_WORLD_SIZE", "SLURM_STEP_TASKS_PER_NODE")
    # srun writes `4(x2),1`: four on each of two machines, one on the third.
    numbers = [int(n) for text in found for n in re.findall(r"(?:^|,)(\d+)", text)]
    return max(numbers, default=1)


def _of_node(environment: Mapping[str, str], torchrun: str, slurm: str) -> list[str]:
    """Return the value of a launcher's variable, of the launcher that has started this process."""
    started = rank(environment)
    if started is None:
        return []
    return [environment.get(torchrun if started[2].startswith("RANK") else slurm, "")]
