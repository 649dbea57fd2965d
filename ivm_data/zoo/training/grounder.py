"""The embedded grounder: a miniature Grounding DINO trained from nothing on the procedural world."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from transformers import GroundingDinoForObjectDetection

from ivm_data.worlds.scene import ATTRIBUTES, IMAGE_SIZE, Scene
from ivm_data.zoo.training.expert_card import write_card
from ivm_data.zoo.training.grounder_captions import draw_caption, encode
from ivm_data.zoo.training.grounder_loss import DenseHead, Targets, grounding_loss
from ivm_data.zoo.training.grounder_model import build, processor
from ivm_data.zoo.training.grounder_pretrain import pretrain
from ivm_data.zoo.training.grounder_scores import score_grounder
from ivm_data.zoo.training.scenes import load_scenes
from ivm_data.zoo.training.schedule import cosine, minibatches, normalise
from storage.common.validation import FILLED, Checked, Count, Natural, within
from storage.disk.publish import whole_folder
from storage.errors import ConfigError

NAME = "grounder"

_DESCRIPTION = """
Grounding DINO (`transformers.GroundingDinoForObjectDetection`) in miniature: a ConvNeXt backbone, a one-layer BERT over
the procedural world's attribute words, two encoder and two decoder layers, 30 queries. It reads captions such as
"red ring . small striped star ."; a phrase that fits several things gives a box for each, a phrase that fits none gives
low scores. Relations ("left of") are beyond it.
"""


@dataclass(frozen=True)
class GrounderTraining(Checked):
    """How the grounder is trained.

    Attributes:
        pretrain_steps: steps of dense backbone pretraining.
        steps: steps of each cycle of detection training.
        scenes: training scenes.
        batch: images (each with one caption) in a step.
        learning_rate: peak of each cycle's cosine schedule.
        absent: share of phrases that fit nothing in their image.
        held_out: scenes of each held-out split that are scored.
        seed: of weights, order, captions.
        threads: torch threads.
        cache_dir: where the scenes are kept; None means the default cache.
    """

    pretrain_steps: Count = 450
    steps: Annotated[tuple[Count, ...], FILLED] = (4000, 1500, 1500, 1500)
    scenes: Count = 24000
    batch: Count = 16
    learning_rate: tuple[float, ...] = (8e-4, 5e-4, 5e-4, 5e-4)
    absent: Annotated[float, within("[0, 1)")] = 0.25
    held_out: Count = 600
    seed: Natural = 0
    threads: Count = 1
    cache_dir: Path | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.steps) != len(self.learning_rate):
            raise ConfigError(
                f"'steps' and 'learning_rate' need an entry for each cycle, got {self.steps} and {self.learning_rate}"
            )


def train(out: Path, config: GrounderTraining, log: Callable[[str], None] = print) -> dict[str, float]:
    """Train from nothing, write a checkpoint that `from_pretrained(out)` reads, return its held-out scores."""
    torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    rng = np.random.default_rng(config.seed)
    scenes = load_scenes("train", config.scenes, config.cache_dir)
    started = time.process_time()
    model = build().train()
    pretrain(
        model,
        scenes,
        steps=config.pretrain_steps,
        batch=2 * config.batch,
        learning_rate=2 * config.learning_rate[0],
        rng=rng,
        log=log,
    )

    for cycle in range(len(config.steps)):
        fit(model, scenes, config, cycle, rng=rng, log=log)
    minutes = (time.process_time() - started) / 60
    with whole_folder(out) as folder:
        _save(model, folder)
        scores = score_grounder(folder, config.held_out, config.cache_dir)
        write_card(folder, "Grounder", _DESCRIPTION, scores, asdict(config), minutes)
    log(f"{NAME}: {minutes:.1f} min, " + ", ".join(f"{name} {value:.3f}" for name, value in scores.items()))
    return scores


def fit(
    model: GroundingDinoForObjectDetection,
    scenes: Sequence[Scene],
    config: GrounderTraining,
    cycle: int,
    *,
    rng: np.random.Generator,
    log: Callable[[str], None],
) -> None:
    """One cycle of detection training: AdamW, cosine schedule (SGDR, Loshchilov and Hutter, 2017, arXiv 1608.03983)."""
    steps = config.steps[cycle]
    dense = DenseHead(model.config.d_model)
    trained = [*model.parameters(), *dense.parameters()]
    optimizer = torch.optim.AdamW(trained, lr=config.learning_rate[cycle], weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: cosine(step, steps))
    started, losses = time.monotonic(), []
    for step, rows in enumerate(minibatches(len(scenes), config.batch, steps, rng), start=1):
        loss = grounding_loss(model, dense, *draw_batch([scenes[int(i)] for i in rows], config.absent, rng))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
        if step % 100 == 0:
            minutes = (time.monotonic() - started) / 60
            log(f"{NAME}: cycle {cycle + 1}, step {step}/{steps}, {minutes:.1f} min, loss {np.mean(losses[-100:]):.3f}")


def draw_batch(
    scenes: Sequence[Scene], absent: float, rng: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor, Targets]:
    """Pixels (B, 3, H, W), token ids (B, T), targets: one caption for each scene."""
    captions, fits = zip(*(draw_caption(scene, absent, rng) for scene in scenes), strict=True)
    ids_BT, phrase_BT = encode(captions)
    most = max(len(scene.things) for scene in scenes)
    box_BK4 = torch.full((len(scenes), most, 4), 0.5)
    token_BKT = torch.zeros(len(scenes), most, ids_BT.shape[1])
    word_BKA = torch.zeros(len(scenes), most, len(ATTRIBUTES), dtype=torch.long)
    owner_BHW = torch.full((len(scenes), IMAGE_SIZE, IMAGE_SIZE), -1)
    for row, (scene, fits_PK) in enumerate(zip(scenes, fits, strict=True)):
        count = len(scene.things)
        box_BK4[row, :count] = torch.tensor(
            [[*t.box.center, t.box.x1 - t.box.x0, t.box.y1 - t.box.y0] for t in scene.things]
        )
        box_BK4[row, :count] /= IMAGE_SIZE
        fits_KP = torch.from_numpy(np.vstack([fits_PK, np.zeros(count, bool)]).T)
        token_BKT[row, :count] = fits_KP[:, phrase_BT[row]].float()
        for index, thing in enumerate(scene.things):
            word_BKA[row, index] = torch.tensor(
                [words.index(getattr(thing, name)) for name, words in ATTRIBUTES.items()]
            )
            owner_BHW[row][torch.from_numpy(thing.mask_HW)] = index
    pixels_BCHW = normalise(np.stack([scene.image_HWC for scene in scenes]))
    targets = Targets(box_BK4, token_BKT.any(-1), token_BKT, ids_BT > 0, phrase_BT >= 0, owner_BHW, word_BKA)
    return pixels_BCHW, ids_BT, targets


def _save(model: GroundingDinoForObjectDetection, folder: Path) -> None:
    model.save_pretrained(folder)
    processor().save_pretrained(folder)
