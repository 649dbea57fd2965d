"""The frozen language model split over the processes that train together (FSDP, arXiv 2304.11277).

Only what is frozen is split: at the paper's size that is 6.5 of 7.7 billion parameters. What is trained, 16.6 million,
stays whole in every process, so that states, checkpoints and the average of the weights are as without splitting.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from storage.errors import ConfigError

if TYPE_CHECKING:
    from accelerate import Accelerator
    from torch import nn

    from ivm_model.model.masking_model import MaskingModel


def split_frozen(model: MaskingModel, accelerator: Accelerator) -> None:
    """Leave each process its share of every frozen weight in the language model's layers.

    A layer is gathered while it computes and let go of afterwards, so from now on every process must run the language
    model equally often, but for what happens within `whole`. Call it while the model is on the CPU: a device is then
    never given more than its share and one layer.

    Raises:
        ConfigError: there is only one process.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard
    from torch.distributed.tensor import DTensor
    from torch.nn.parallel import DistributedDataParallel

    if accelerator.num_processes == 1:
        raise ConfigError("'run.shard' splits the LMM over processes; start several with torchrun, or leave it false")
    decoder = model.lmm.model.get_decoder()
    mesh = init_device_mesh(accelerator.device.type, (accelerator.num_processes,))
    trained = {value for value in decoder.parameters() if value.requires_grad}
    for layer in decoder.layers:
        fully_shard(layer, mesh=mesh, ignored_params=trained)
    # Holds nothing itself: embeddings are read outside of it. It lets a layer be fetched while another computes.
    fully_shard(decoder, mesh=mesh, ignored_params=set(decoder.parameters()))
    split = [name for name, value in model.named_parameters() if isinstance(value, DTensor)]
    # DDP keeps what is trained equal; the rest it would otherwise send to every process once.
    DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(model, split)


@contextmanager
def whole(model: nn.Module) -> Iterator[None]:
    """Every process holds all weights for a while, and runs the model as often as it likes."""
    from torch.distributed.fsdp import FSDPModule

    parts: list[Any] = [module for module in model.modules() if isinstance(module, FSDPModule)]
    for part in parts:
        part.set_reshard_after_forward(False, recurse=False)
        part.unshard()
    try:
        yield
    finally:
        for part in parts:
            part.set_reshard_after_forward(True, recurse=False)
            part.reshard()
