"""A network that `torch.export` saved, `MODEL.pt2`: its graph and its weights in one file.

Such a file can hold code that runs when it is read, so a user must say that it is trusted.
"""

from pathlib import Path

import torch

from logitpipe.cache.errors import PipeError, UsageError
from logitpipe.stages.infer.networks.factory import as_network
from logitpipe.stages.infer.networks.foreign import Declaration, told
from logitpipe.stages.infer.networks.seam import Network, Source
from logitpipe.stages.infer.weights.weightfile import weights_sha256


def load(source: Source) -> Network:
    """Load an exported program.

    Raises
    ------
    PipeError
        The file is not trusted or cannot be read, the program fails on a picture of its input size, or nothing says
        which classes its channels are.
    """
    source.refuse_all_but("declare", "trust_model")
    if source.weights is not None:
        raise UsageError("an exported program holds its own weights", "leave-out", option="weights")
    path = Path(source.name)
    # Before trust is asked for: a file that is not there is no question of trust.
    digest = weights_sha256(path)
    if not source.own.get("trust_model"):
        raise UsageError(f"{path} is a program, and to read one can run code that is hidden in it", "trust-model")
    try:
        module = torch.export.load(path).module()
    except Exception as error:  # whatever the file makes torch do
        raise PipeError(f"{path} is not a program that torch.export saved: {told(error)}") from error
    return as_network(source, module, path.stem, Declaration(), digest, {"program": path.name})
