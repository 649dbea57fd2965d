"""A row of a training step, counted by torch while it runs on a CPU."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

from benchmarks.training_flops import Flops
from ivm_model.engine.losses import mask_loss
from ivm_model.model.masking_model import Encoded, MaskingModel

WORDS = "Find the thing that the person in the red coat is holding up."


def count(model: MaskingModel, *, again: bool = True) -> tuple[Flops, int]:
    """FLOPs of one row in bfloat16 by torch's counter, `decode` within `read`, and the tokens that the LMM read.

    Args:
        again: with gradient checkpointing.
    """
    model.sam_dtype = "bfloat16"
    if again:
        model.lmm.model.activation_checkpointing_enable()
    image_HWC = np.random.default_rng(0).integers(0, 255, (model.side, model.side, 3), np.uint8)
    model.train()
    sam, sam_BCHW = counted(lambda: model.embed([image_HWC]))
    tower, encoded = counted(lambda: model.encode([image_HWC], sam_BCHW))
    tokens = model.lmm.read([WORDS], encoded.vision_BTC, None).hidden_BLC.shape[1]
    learn, _ = counted(lambda: step(model, encoded, [WORDS]))
    return Flops(sam, tower, learn, 0.0), tokens


def step(model: MaskingModel, encoded: Encoded, words: Sequence[str]) -> None:
    """Forward and backward pass in bfloat16."""
    with torch.autocast("cpu", torch.bfloat16):
        logits_BHW = model(encoded, words).float()
    mask_loss(logits_BHW, torch.zeros_like(logits_BHW)).mean().backward()


def counted(work: Callable[[], Any]) -> tuple[float, Any]:
    """FLOPs of what a function does, and what it gives; a CPU's fused attention counts as that of a GPU."""
    name = "_scaled_dot_product_flash_attention_for_cpu"
    fused = {
        getattr(torch.ops.aten, name): _forward,
        getattr(torch.ops.aten, f"{name}_backward"): _backward,
    }
    with FlopCounterMode(display=False, custom_mapping=fused) as counter:
        given = work()
    return float(counter.get_total_flops()), given


def _forward(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    return int(sdpa_flop_count(query, key, value))


def _backward(gradient: Any, query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    return int(sdpa_backward_flop_count(gradient, query, key, value))


def peak(work: Callable[[], Any]) -> tuple[int, Any]:
    """Most bytes that torch held beyond what it held before, by its profiler, and what the function gives."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        given = work()
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(trace))
        events = json.loads(trace.read_text(encoding="utf-8"))["traceEvents"]
    changes = [(event["ts"], event["args"]["Bytes"]) for event in events if event["name"] == "[memory]"]
    held = np.cumsum([size for _, size in sorted(changes, key=lambda change: change[0])])
    return int(held.max(initial=0)), given
