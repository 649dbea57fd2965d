"""Where a model runs and in which numbers, where its config leaves that to the machine: "auto"."""

from __future__ import annotations

AUTO = "auto"


def device_of(device: str) -> str:
    """The device that a name stands for: of "auto" the GPU where torch sees one, else the CPU."""
    import torch

    return ("cuda" if torch.cuda.is_available() else "cpu") if device == AUTO else device


def dtype_of(dtype: str, device: str) -> str:
    """The dtype that a name stands for on a device.

    Of "auto", on a GPU bfloat16 where its cores compute in that, else float16; float32 on a CPU. Of a GPU that is
    not here nobody can say, and it is bfloat16.

    Args:
        device: a torch device, not "auto".
    """
    import torch

    if dtype != AUTO:
        return dtype
    if torch.device(device).type != "cuda":
        return "float32"
    if not torch.cuda.is_available():
        return "bfloat16"
    with torch.cuda.device(device):
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float16"
