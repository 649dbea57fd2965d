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
from ivm_data.zoo.lmm_learner import Batches, Learner
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
        tower_share: share of the time that teaches the tower what each patch shows, and the language model to rewrite;
            the rest is for questions about images, with the tower as it is then.
        batch: images in a step, each with about four questions.
        scenes: scenes of the training split.
        held_out: scenes of each held-out split that the card's scores come from.
        learning_rate: peak of the cosine, in either part.
        save_every: publish a usable checkpoint after so many minutes; 0 publishes only the last.
        threads: CPU threads.
        cache_dir: where the scenes are kept; None means the default cache.
    """

    minutes: float = 34.0
    tower_share: float = 0.36
    batch: int = 16
    scenes: int = 12_000
    held_out: int = 200
    learning_rate: float = 1.2e-3
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
    """Train tower and language model apart, then the latter on images; yields whenever a checkpoint is due."""
    for _ in _phase(learner, batches, config, log, 60 * config.minutes * config.tower_share):
        pass
    learner.see()
    yield from _phase(learner, batches, config, log, 60 * config.minutes * (1 - config.tower_share))


def _phase(
    learner: Learner, batches: Batches, config: TrainConfig, log: Callable[[str], None], seconds: float
) -> Iterator[None]:
    trained = [parameter for parameter in learner.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, betas=(0.9, 0.98), weight_decay=config.weight_decay)
    shares = SHARES if learner.seeing else TOWER_SHARES
    started, saved, step, recent = time.monotonic(), 0, 0, []
    while (elapsed := time.monotonic() - started) < seconds:
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * cosine(round(_TICKS * elapsed / seconds), _TICKS, warmup=_TICKS // 40)
        losses = learner(batches.draw(shares))
        optimizer.zero_grad(set_to_none=True)
        losses.total.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        step += 1
        recent.append((losses.parts, losses.right))
        if step % 100 == 0:
            log(f"{elapsed:.0f}/{seconds:.0f} s, step {step}: {_summary(recent)}")
            recent = []
        if config.save_every and elapsed > 60 * config.save_every * (saved + 1):
            saved += 1
            yield


def _summary(recent: list[tuple[dict[str, float], tuple[tuple[str, bool], ...]]]) -> str:
    """Mean losses and, by job, the share of right answer tokens."""
    by_job: dict[str, list[bool]] = {}
    for job, right in (one for _, answers in recent for one in answers):
        by_job.setdefault(job, []).append(right)
    means = {part: np.mean([parts[part] for parts, _ in recent]) for part in recent[0][0]}
    shares = " ".join(f"{job} {np.mean(right):.2f}" for job, right in sorted(by_job.items()) if job)
    return f"loss {' '.join(f'{part} {mean:.3f}' for part, mean in means.items())}; right {shares}"


def _publish(learner: Learner, out: Path) -> None:
    with published(out) as scratch:
        learner.llava.save_pretrained(scratch)
        learner.processor.save_pretrained(scratch)
