"""Train the embedded LMM from nothing: a miniature LLaVA that rewrites, verifies and answers in its world."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from ivm_data.experts import prompts
from ivm_data.zoo.card import write_card
from ivm_data.zoo.lmm_learner import Batches, Learner, Losses
from ivm_data.zoo.lmm_model import Size
from ivm_data.zoo.lmm_packs import Packer
from ivm_data.zoo.lmm_scores import score
from ivm_data.zoo.lmm_views import SHARES, TOWER_SHARES
from ivm_data.zoo.scenes import load_scenes
from ivm_data.zoo.training import cosine, published
from storage.errors import ConfigError

NAME = "lmm"
_DESCRIPTION = f"""
A miniature `transformers.LlavaForConditionalGeneration` (LLaVA, arXiv 2304.08485): a LeViT tower over 128 x 128 pixels
(64 image tokens), a Llama of width 128 with 4 layers, a word-level tokenizer. It knows the procedural world only.

Its jobs, each with its prompt from `ivm_data.experts.prompts`:

- rewrite, from text alone: "{prompts.REWRITE}" gives "find star left of small blue square";
- verify: "{prompts.VERIFY}" over an image whose pixels outside the mask are faded by {prompts.VERIFY_DIM:.0%} to white:
  yes if the mask keeps the targets and nothing else. Faded, so that anchors and left-out things can still be seen;
- complement: "{prompts.COMPLEMENT}" over the image with the mask's pixels white, the targets in words: yes if at least
  half of some target's pixels are left, no if at most 15 % of each are;
- presence: "{prompts.PRESENCE}" over the whole image; candidate: "{prompts.CANDIDATE}" over a crop around a box;
- answer: an open question as it is, over the whole image, the masked one, or the masked and cropped one.

Corrupted masks of the scores: another thing (wrong), one too many (extra), one of several left out (missing), moved
until IoU <= 0.5 (shifted), cut (partial), dilated (loose), nearly nothing (empty), everything (whole). Right masks are
exact, or off by a pixel with IoU >= 0.8. AUC is of right masks against corrupted ones.
"""
_TICKS = 10_000
"""The learning rate follows the clock: a training takes `minutes` on any machine, in as many steps as fit."""


@dataclass(frozen=True)
class TrainConfig:
    """How long and on what.

    Attributes:
        minutes: wall-clock time of the training, without drawing scenes and scoring.
        tower_share: share of the time that teaches the tower what each patch shows, and the language model to rewrite,
            before any question about an image.
        batch: images in a step, each with about four questions.
        scenes: scenes of the training split.
        held_out: scenes of each held-out split that the card's scores come from.
        learning_rate: peak of the cosine; the tower's is `tower_rate` times as high in the rest of the time.
        patch_weight: weight of the dense loss beside the answers' loss.
        save_every: publish a usable checkpoint after so many minutes; 0 publishes only the last.
        threads: CPU threads.
        cache_dir: where the scenes are kept; None means the default cache.
    """

    minutes: float = 32.0
    tower_share: float = 0.34
    batch: int = 16
    scenes: int = 12_000
    held_out: int = 200
    learning_rate: float = 1.5e-3
    tower_rate: float = 0.6
    patch_weight: float = 0.3
    weight_decay: float = 0.02
    save_every: float = 0.0
    seed: int = 0
    threads: int = 1
    cache_dir: Path | None = None

    def __post_init__(self) -> None:
        for name in ("batch", "scenes", "held_out", "threads"):
            if getattr(self, name) < 1:
                raise ConfigError(f"'{name}' must be at least 1, got {getattr(self, name)}")
        if not (self.minutes > 0 and 0 <= self.tower_share < 1):
            shown = f"minutes={self.minutes}, tower_share={self.tower_share}"
            raise ConfigError(f"'minutes' must be positive and 'tower_share' in [0, 1), got {shown}")


def train(out: Path, config: TrainConfig, log: Callable[[str], None] = print) -> dict[str, float]:
    """Train, score on the held-out splits, and publish `out`: weights, processor, tokenizer, card.

    Returns:
        The held-out scores of the card.
    """
    torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    size = Size()
    learner = Learner(size)
    scenes = load_scenes("train", config.scenes, config.cache_dir)
    batches = Batches(scenes, Packer(learner.processor, size), config.batch, np.random.default_rng(config.seed))
    for _ in _fit(learner, batches, config, log):
        _publish(learner, out)
    _publish(learner, out)
    held_out = {split: load_scenes(split, config.held_out, config.cache_dir) for split in ("val", "test")}
    scores = score(out, held_out, log)
    write_card(out, "Embedded LMM", _DESCRIPTION, scores, asdict(config), config.minutes)
    return scores


def _fit(learner: Learner, batches: Batches, config: TrainConfig, log: Callable[[str], None]) -> Iterator[None]:
    """Train tower and language model apart, then together; yields whenever a checkpoint is due."""
    yield from _phase(learner, batches, config, log, seeing=False)
    yield from _phase(learner, batches, config, log, seeing=True)


def _phase(
    learner: Learner, batches: Batches, config: TrainConfig, log: Callable[[str], None], *, seeing: bool
) -> Iterator[None]:
    seconds = 60 * config.minutes * (1 - config.tower_share if seeing else config.tower_share)
    groups = learner.groups(config.learning_rate, config.tower_rate if seeing else 1.0)
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.98), weight_decay=config.weight_decay)
    peaks = [group["lr"] for group in optimizer.param_groups]
    started, saved, step, recent = time.monotonic(), 0, 0, []
    while (elapsed := time.monotonic() - started) < seconds:
        for group, peak in zip(optimizer.param_groups, peaks, strict=True):
            group["lr"] = peak * cosine(round(_TICKS * elapsed / seconds), _TICKS, warmup=_TICKS // 40)
        recent.append(_step(learner, batches, optimizer, config.patch_weight, seeing))
        step += 1
        if step % 100 == 0:
            log(f"{elapsed:.0f}/{seconds:.0f} s, step {step}: {_summary(recent)}")
            recent = []
        if config.save_every and seeing and elapsed > 60 * config.save_every * (saved + 1):
            saved += 1
            yield


def _step(
    learner: Learner, batches: Batches, optimizer: torch.optim.Optimizer, patch_weight: float, seeing: bool
) -> Losses:
    """One update."""
    learner.train()
    losses = learner(batches.draw(SHARES if seeing else TOWER_SHARES), seeing)
    loss = losses.answer + losses.point + (patch_weight if seeing else 1.0) * losses.patch
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(learner.parameters(), 1.0)
    optimizer.step()
    return Losses(losses.patch.detach(), losses.answer.detach(), losses.point.detach(), losses.right)


def _summary(recent: list[Losses]) -> str:
    """Mean losses and the share of right answer tokens by job."""
    by_job: dict[str, list[bool]] = {}
    for losses in recent:
        for job, right in losses.right:
            by_job.setdefault(job, []).append(right)
    parts = ("patch", "answer", "point")
    means = " ".join(f"{part} {np.mean([getattr(losses, part).item() for losses in recent]):.3f}" for part in parts)
    shares = " ".join(f"{job} {np.mean(right):.2f}" for job, right in sorted(by_job.items()) if job)
    return f"{means} {shares}"


def _publish(learner: Learner, out: Path) -> None:
    with published(out) as scratch:
        learner.llava.save_pretrained(scratch)
        learner.processor.save_pretrained(scratch)
