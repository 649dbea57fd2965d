"""Dense pretraining of the grounder's backbone: what covers each cell of its feature maps?

Without it the proposals see no shapes or colours for a long time and the detector hardly starts to learn.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from transformers import GroundingDinoForObjectDetection

from ivm_data.worlds.scene import ATTRIBUTES, IMAGE_SIZE, Scene
from ivm_data.zoo.training.grounder_loss import STRIDES
from ivm_data.zoo.training.schedule import cosine, minibatches, normalise

_CLASSES = [len(words) for words in ATTRIBUTES.values()]


def pretrain(
    model: GroundingDinoForObjectDetection,
    scenes: Sequence[Scene],
    *,
    steps: int,
    batch: int,
    learning_rate: float,
    rng: np.random.Generator,
    log: Callable[[str], None],
) -> None:
    """Train backbone and input projections to predict presence, attributes and box sides of each cell's thing."""
    heads = nn.ModuleList(nn.Conv2d(model.config.d_model, 1 + sum(_CLASSES) + 4, 1) for _ in STRIDES)
    trained = [*model.model.backbone.parameters(), *model.model.input_proj_vision.parameters(), *heads.parameters()]
    optimizer = torch.optim.AdamW(trained, lr=learning_rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: cosine(step, steps, warmup=50))
    started, right = time.monotonic(), []
    for step, rows in enumerate(minibatches(len(scenes), batch, steps, rng), start=1):
        chosen = [scenes[int(i)] for i in rows]
        loss, accuracy = _dense_loss(model, heads, chosen)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        schedule.step()
        right.append(accuracy)
        if step % 100 == 0:
            said = ", ".join(
                f"{name} {value:.2f}" for name, value in zip(ATTRIBUTES, np.mean(right[-50:], 0), strict=True)
            )
            log(f"pretraining: step {step}/{steps}, {(time.monotonic() - started) / 60:.1f} min, accuracy {said}")


def _dense_loss(
    model: GroundingDinoForObjectDetection, heads: nn.ModuleList, scenes: Sequence[Scene]
) -> tuple[torch.Tensor, list[float]]:
    """Loss over both levels, and the accuracy of each attribute on the finer one."""
    core = model.model
    pixels_BCHW = normalise(np.stack([scene.image_HWC for scene in scenes]))
    pixel_mask_BHW = torch.ones(len(scenes), IMAGE_SIZE, IMAGE_SIZE, dtype=torch.long)
    features, _ = core.backbone(pixels_BCHW, pixel_mask_BHW)
    owners, words_NA, box_N4 = _labels(scenes)
    total, accuracy = torch.zeros(()), []
    for level, stride in enumerate(STRIDES):
        out_BHWC = heads[level](core.input_proj_vision[level](features[level][0])).permute(0, 2, 3, 1)
        owner_BHW = owners[:, stride // 2 :: stride, stride // 2 :: stride]
        present_BHW = owner_BHW >= 0
        total = total + functional.binary_cross_entropy_with_logits(out_BHWC[..., 0], present_BHW.float())
        inside_MC, thing_M = out_BHWC[present_BHW], owner_BHW[present_BHW]
        _, *attributes, sides_M4 = inside_MC.split([1, *_CLASSES, 4], dim=1)
        for index, logits_MW in enumerate(attributes):
            total = total + functional.cross_entropy(logits_MW, words_NA[thing_M, index])
            if level == 0:
                accuracy.append(float((logits_MW.argmax(1) == words_NA[thing_M, index]).float().mean()))
        total = total + functional.smooth_l1_loss(sides_M4, _distances(present_BHW, stride, box_N4[thing_M]))
    return total, accuracy


def _labels(scenes: Sequence[Scene]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Owner of each pixel (B, H, W), -1 for none; attribute indices (N, 4) and XYXY boxes (N, 4) of all things."""
    owners = np.full((len(scenes), IMAGE_SIZE, IMAGE_SIZE), -1, np.int64)
    words: list[list[int]] = []
    boxes: list[list[float]] = []
    for owner_HW, scene in zip(owners, scenes, strict=True):
        for thing in scene.things:
            owner_HW[thing.mask_HW] = len(words)
            words.append([options.index(getattr(thing, name)) for name, options in ATTRIBUTES.items()])
            boxes.append([thing.box.x0, thing.box.y0, thing.box.x1, thing.box.y1])
    return torch.from_numpy(owners), torch.tensor(words), torch.tensor(boxes)


def _distances(present_BHW: torch.Tensor, stride: int, box_M4: torch.Tensor) -> torch.Tensor:
    """How far the box's four sides lie from the cell's centre, in strides of 16 pixels."""
    _, row_M, column_M = present_BHW.nonzero(as_tuple=True)
    centre_M2 = torch.stack([column_M, row_M], 1) * stride + stride / 2
    return (box_M4 - centre_M2.repeat(1, 2)) / 16
