"""Train the embedded LMM from nothing: a miniature LLaVA that rewrites, verifies and answers in the procedural world."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from ivm_data.zoo.card import write_card
from ivm_data.zoo.lmm_learner import Batches, Learner
from ivm_data.zoo.lmm_model import Size
from ivm_data.zoo.lmm_packs import Packer
from ivm_data.zoo.scenes import load_scenes
from ivm_data.zoo.training import cosine, published
from storage.errors import ConfigError

NAME = "lmm"


@dataclass(frozen=True)
class TrainConfig:
    """How long and on what.

    Attributes:
        tower_steps: steps that teach the tower what each patch shows, before any question.
        steps: steps with questions.
        batch: images in a step, each with about six questions.
        scenes: scenes of the training split.
        eval_scenes: scenes of the validation split that the card's scores come from.
        learning_rate: peak of the cosine; the tower's is `tower_rate` times as high.
        patch_weight: weight of the dense loss beside the answers' loss.
        save_every: publish a usable checkpoint after so many steps; 0 publishes only the last.
        threads: CPU threads.
    """

    tower_steps: int = 700
    steps: int = 5000
    batch: int = 24
    scenes: int = 16_000
    eval_scenes: int = 400
    learning_rate: float = 1.2e-3
    tower_rate: float = 0.6
    patch_weight: float = 0.3
    save_every: int = 0
    seed: int = 0
    threads: int = 1

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "scenes", "eval_scenes", "threads"):
            if getattr(self, name) < 1:
                raise ConfigError(f"'{name}' must be at least 1, got {getattr(self, name)}")


def train(out: Path, config: TrainConfig, log: Callable[[str], None] = print) -> dict[str, float]:
    """Train, score on the validation split, and publish `out`: weights, processor, tokenizer, card.

    Returns:
        The held-out scores of the card.
    """
    torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    started = time.monotonic()
    size = Size()
    learner = Learner(size)
    packer = Packer(learner.processor, size)
    batches = Batches(load_scenes("train", config.scenes), packer, config.batch, np.random.default_rng(config.seed))
    _fit(learner, batches, config, log, out, questions=False)
    _fit(learner, batches, config, log, out, questions=True)
    minutes = (time.monotonic() - started) / 60
    from ivm_data.zoo.lmm_scores import score

    with published(out) as scratch:
        _save(learner, scratch)
        scores = score(scratch, config.eval_scenes, log)
        write_card(scratch, "Embedded LMM", __doc__ or "", scores, asdict(config), minutes)
    return scores


def _fit(
    learner: Learner, batches: Batches, config: TrainConfig, log: Callable[[str], None], out: Path, questions: bool
) -> None:
    steps = config.steps if questions else config.tower_steps
    rate = config.learning_rate
    optimizer = torch.optim.AdamW(learner.groups(rate, config.tower_rate), betas=(0.9, 0.98), weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: cosine(step, steps))
    started, recent = time.monotonic(), []
    for step in range(1, steps + 1):
        losses = learner(batches.draw(), questions)
        loss = losses.answer + config.patch_weight * losses.patch if questions else losses.patch
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(learner.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        recent.append((losses.patch.item(), losses.answer.item(), losses.right))
        if step % 100 == 0:
            patch, answer, right = np.mean(recent, 0)
            log(
                f"step {step}/{steps} patch {patch:.3f} answer {answer:.3f} right {right:.3f} {time.monotonic() - started:.0f} s"
            )
            recent = []
        if config.save_every and questions and step % config.save_every == 0:
            with published(out) as scratch:
                _save(learner, scratch)


def _save(learner: Learner, directory: Path) -> None:
    learner.llava.save_pretrained(directory)
    learner.processor.save_pretrained(directory)
