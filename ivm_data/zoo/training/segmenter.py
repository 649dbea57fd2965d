"""The embedded segmenter: a miniature SamModel trained from nothing on the procedural world.

Token 0 answers boxes; the one ambiguity-aware token answers points. A point on the background has an empty mask
and predicted IoU 0, so that a grid of points can serve as a mask proposer.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from torch.nn import functional
from transformers import (
    SamConfig,
    SamMaskDecoderConfig,
    SamModel,
    SamProcessor,
    SamPromptEncoderConfig,
    SamVisionConfig,
)
from transformers.models.sam.image_processing_pil_sam import SamImageProcessorPil

from ivm_data.worlds.scene import IMAGE_SIZE, Scene
from ivm_data.zoo.training.expert_card import write_card
from ivm_data.zoo.training.scenes import load_scenes
from ivm_data.zoo.training.schedule import MEAN_RGB, STD_RGB, cosine, minibatches, normalise
from ivm_data.zoo.training.segmenter_scores import score_segmenter
from storage.common.validation import Checked, Count, Natural, within
from storage.disk.publish import whole_folder

NAME = "segmenter"

_DESCRIPTION = """
Segment Anything (`transformers.SamModel`) in miniature: a vision transformer with patches of 8 pixels on 128x128
images, and the two-way mask decoder. It knows the procedural world only.
"""


@dataclass(frozen=True)
class SegmenterTraining(Checked):
    """How the segmenter is trained.

    Attributes:
        steps: optimiser steps.
        scenes: training scenes.
        batch: images in a step.
        prompts: boxes, and as many points, for each image.
        learning_rate: peak of the cosine schedule.
        jitter: standard deviation of the box corners, as a share of the box's side.
        background: share of the points that lie on no thing.
        held_out: scenes of each held-out split that are scored.
        seed: of weights, order, prompts.
        threads: torch threads.
        cache_dir: where the scenes are kept; None means the default cache.
    """

    steps: Count = 8000
    scenes: Count = 24000
    batch: Count = 12
    prompts: Count = 3
    learning_rate: float = 1.5e-3
    jitter: float = 0.08
    background: Annotated[float, within("[0, 1)")] = 0.2
    held_out: Count = 300
    seed: Natural = 0
    threads: Count = 1
    cache_dir: Path | None = None


def build() -> SamModel:
    """The untrained model, 0.5 M parameters."""
    config = SamConfig(
        vision_config=SamVisionConfig(
            hidden_size=96,
            output_channels=64,
            num_hidden_layers=4,
            num_attention_heads=4,
            image_size=IMAGE_SIZE,
            patch_size=8,
            initializer_range=0.05,
            use_rel_pos=False,
            window_size=8,
            global_attn_indexes=[1, 3],
            num_pos_feats=32,
        ).to_dict(),
        prompt_encoder_config=SamPromptEncoderConfig(hidden_size=64, image_size=IMAGE_SIZE, patch_size=8).to_dict(),
        mask_decoder_config=SamMaskDecoderConfig(
            hidden_size=64, mlp_dim=128, num_attention_heads=4, num_multimask_outputs=1, iou_head_hidden_dim=64
        ).to_dict(),
        initializer_range=0.05,
    )
    model = SamModel(config)
    for module in model.modules():
        if isinstance(module, torch.nn.Linear):
            torch.nn.init.xavier_uniform_(module.weight)
        elif isinstance(module, torch.nn.Embedding):
            torch.nn.init.normal_(module.weight, std=1.0)
    # transformers draws the Fourier matrix with std hidden_size // 2; the paper's code draws it with std 1.
    for embedding in (model.shared_image_embedding, model.prompt_encoder.shared_embedding):
        torch.nn.init.normal_(embedding.positional_embedding, std=1.0)
    model.tie_weights()
    model.shared_image_embedding.positional_embedding.requires_grad_(False)
    return model


def processor() -> SamProcessor:
    """Resizes the longest edge to 128 pixels and pads to a square, below and to the right."""
    square = {"height": IMAGE_SIZE, "width": IMAGE_SIZE}
    images = SamImageProcessorPil(
        size={"longest_edge": IMAGE_SIZE}, pad_size=square, image_mean=list(MEAN_RGB), image_std=list(STD_RGB)
    )
    return SamProcessor(image_processor=images)


def train(out: Path, config: SegmenterTraining, log: Callable[[str], None] = print) -> dict[str, float]:
    """Train from nothing, write a checkpoint that `from_pretrained(out)` reads, return its held-out scores."""
    torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    started = time.process_time()
    rng = np.random.default_rng(config.seed)
    model = build()
    fit(model, config, rng, log)
    minutes = (time.process_time() - started) / 60
    with whole_folder(out) as folder:
        model.save_pretrained(folder)
        processor().save_pretrained(folder)
        scores = score_segmenter(folder, config.held_out, config.cache_dir)
        write_card(folder, "Segmenter", _DESCRIPTION, scores, asdict(config), minutes)
    log(f"{NAME}: {minutes:.1f} min, " + ", ".join(f"{name} {value:.3f}" for name, value in scores.items()))
    return scores


def fit(model: SamModel, config: SegmenterTraining, rng: np.random.Generator, log: Callable[[str], None]) -> None:
    """AdamW with a cosine schedule."""
    steps = config.steps
    scenes = load_scenes("train", config.scenes, config.cache_dir)
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.learning_rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: cosine(step, steps))
    model.train()
    started, ious = time.monotonic(), []
    for step, rows in enumerate(minibatches(len(scenes), config.batch, steps, rng), start=1):
        loss, iou = training_loss(model, [scenes[int(i)] for i in rows], config, rng)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        ious.append(iou)
        if step % 100 == 0:
            minutes = (time.monotonic() - started) / 60
            box, point = np.mean(ious[-100:], axis=0)
            log(f"{NAME}: step {step}/{steps}, {minutes:.1f} min, IoU box {box:.3f}, point {point:.3f}")


def training_loss(
    model: SamModel,
    scenes: Sequence[Scene],
    config: SegmenterTraining,
    rng: np.random.Generator,
) -> tuple[torch.Tensor, tuple[float, float]]:
    """Loss of one batch, and its mean IoU for boxes and points."""
    pixels_BCHW = normalise(np.stack([scene.image_HWC for scene in scenes]))
    embedding_BCHW = model.vision_encoder(pixels_BCHW).last_hidden_state
    total, ious = torch.zeros(()), []
    for draw, prompt in ((draw_boxes, "input_boxes"), (draw_points, "input_points")):
        drawn = [draw(scene, config, rng) for scene in scenes]
        target_MHW = torch.from_numpy(np.concatenate([masks for _, masks in drawn])).float()
        prompts = torch.from_numpy(np.stack([coordinates for coordinates, _ in drawn]))
        out = model(image_embeddings=embedding_BCHW, multimask_output=prompt == "input_points", **{prompt: prompts})
        loss, iou_M = mask_loss(out.pred_masks.flatten(0, 1), out.iou_scores.flatten(), target_MHW)
        total = total + loss
        ious.append(float(iou_M[target_MHW.flatten(1).any(1)].mean()))
    return total, (ious[0], ious[1])


def draw_boxes(scene: Scene, config: SegmenterTraining, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Boxes (prompts, 4) and masks (prompts, H, W); three boxes in ten are jittered 2.5 times as much."""
    chosen = [scene.things[i] for i in rng.integers(len(scene.things), size=config.prompts)]
    corner_P4 = np.array([[t.box.x0, t.box.y0, t.box.x1, t.box.y1] for t in chosen], np.float32)
    side_P4 = np.tile(corner_P4[:, 2:] - corner_P4[:, :2], 2)
    scale_P1 = np.where(rng.random((config.prompts, 1)) < 0.3, 2.5, 1.0) * config.jitter
    jittered_P4 = corner_P4 + rng.normal(size=corner_P4.shape) * scale_P1 * side_P4
    return jittered_P4.clip(0, IMAGE_SIZE).astype(np.float32), np.stack([t.mask_HW for t in chosen])


def draw_points(scene: Scene, config: SegmenterTraining, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """(prompts, 1, 2) points as (x, y) and their (prompts, H, W) masks, empty for a point on the background."""
    points, masks = [], []
    for _ in range(config.prompts):
        thing = scene.things[rng.integers(len(scene.things))]
        is_background = rng.random() < config.background
        inside_HW = ~np.any([t.mask_HW for t in scene.things], axis=0) if is_background else thing.mask_HW
        y, x = divmod(int(rng.choice(np.flatnonzero(inside_HW))), IMAGE_SIZE)
        points.append([[x, y]])
        masks.append(np.zeros_like(thing.mask_HW) if is_background else thing.mask_HW)
    return np.array(points, np.float32), np.stack(masks)


def mask_loss(
    logits_M1hw: torch.Tensor, iou_pred_M: torch.Tensor, target_MHW: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """20 focal (gamma 1) + Dice + squared error of the predicted IoU, and the true IoU (M,).

    The sum follows Kirillov et al., 2023, section A.3; gamma 1 instead of 2 trains faster at this size.
    """
    logits_MHW = functional.interpolate(logits_M1hw, target_MHW.shape[-2:], mode="bilinear", align_corners=False)[:, 0]
    probability_MHW = logits_MHW.sigmoid()
    wrong_MHW = (probability_MHW - target_MHW).abs()
    focal = (wrong_MHW * functional.binary_cross_entropy_with_logits(logits_MHW, target_MHW, reduction="none")).mean()
    overlap_M = (probability_MHW * target_MHW).sum((1, 2))
    dice_M = 1 - (2 * overlap_M + 1) / (probability_MHW.sum((1, 2)) + target_MHW.sum((1, 2)) + 1)
    with torch.no_grad():
        predicted_MHW, truth_MHW = logits_MHW > 0, target_MHW > 0.5
        union_M = (predicted_MHW | truth_MHW).sum((1, 2)).clamp(min=1)
        iou_M = (predicted_MHW & truth_MHW).sum((1, 2)) / union_M
    has_target_M = truth_MHW.flatten(1).any(1)
    dice = (dice_M * has_target_M).sum() / has_target_M.sum().clamp(min=1)
    return 20 * focal + dice + functional.mse_loss(iou_pred_M, iou_M), iou_M
