"""Train the embedded LMM from nothing: a miniature LLaVA that rewrites, verifies and answers in its world."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from transformers import LlavaForConditionalGeneration, LlavaProcessor

from ivm_data.experts.lmms import prompts
from ivm_data.zoo.training.expert_card import write_card
from ivm_data.zoo.training.lmm_learner import Learner, PackedBatches
from ivm_data.zoo.training.lmm_model import Size, build_model, build_processor, go_on
from ivm_data.zoo.training.lmm_packs import Packer
from ivm_data.zoo.training.lmm_scores import score
from ivm_data.zoo.training.lmm_tower import teach
from ivm_data.zoo.training.scenes import load_scenes
from ivm_data.zoo.training.schedule import cosine
from storage.common.validation import Checked, Count, Natural
from storage.disk.publish import whole_folder

NAME = "lmm"
_DESCRIPTION = f"""
A miniature `transformers.LlavaForConditionalGeneration` (LLaVA, arXiv 2304.08485): a LeViT tower (arXiv 2104.01136)
over 128 x 128 pixels (64 image tokens), a Llama of width 128 with 5 layers, a word-level tokenizer. It knows the
procedural world only.

Its jobs, each with its prompt from `ivm_data.experts.lmms.prompts`:

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


@dataclass(frozen=True)
class LmmTraining(Checked):
    """How long and on what.

    Attributes:
        start: folder of an earlier training to go on from, word by word; None starts from nothing.
        tower_steps: steps of the tower's dense pretraining.
        tower_batch: images in such a step.
        steps: steps of the language model's training.
        batch: images in such a step, each with about four questions.
        scenes: scenes of the training split.
        held_out: scenes of each held-out split that the card's scores come from.
        tower_rate, learning_rate: peak of each part's cosine schedule.
        save_every: publish a usable checkpoint after so many steps; 0 publishes only the last.
        seed: of weights, order, views.
        threads: CPU threads.
        cache_dir: where the scenes are kept; None means the default cache.
    """

    start: Path | None = None
    tower_steps: Natural = 5000
    tower_batch: Count = 16
    steps: Natural = 3200
    batch: Count = 16
    scenes: Count = 24_000
    held_out: Count = 200
    tower_rate: float = 2.5e-3
    learning_rate: float = 1.2e-3
    weight_decay: float = 0.02
    save_every: Natural = 0
    seed: Natural = 0
    threads: Count = 1
    cache_dir: Path | None = None


def train(out: Path, config: LmmTraining, log: Callable[[str], None] = print) -> dict[str, float]:
    """Train, score on the held-out splits, and publish `out`: weights, processor, tokenizer, card.

    Returns:
        The held-out scores of the card.
    """
    torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    rng = np.random.default_rng(config.seed)
    size = Size()
    processor = build_processor(size)
    llava = build_model(size, processor.tokenizer)
    if config.start is not None:
        go_on(llava, processor.tokenizer, config.start)
    scenes = load_scenes("train", config.scenes, config.cache_dir)
    started = time.process_time()
    if config.tower_steps:
        teach(
            llava,
            processor,
            scenes,
            size,
            steps=config.tower_steps,
            batch=config.tower_batch,
            learning_rate=config.tower_rate,
            rng=rng,
            log=log,
        )
    for _ in fit(
        Learner(llava, processor.tokenizer.vocab),
        PackedBatches(scenes, Packer(processor, size), config.batch, rng),
        config,
        log,
    ):
        _publish(llava, processor, out)
    minutes = (time.process_time() - started) / 60
    _publish(llava, processor, out)
    held_out = {split: load_scenes(split, config.held_out, config.cache_dir) for split in ("val", "test")}
    scores = score(out, held_out, log)
    origin = "from nothing" if config.start is None else "on from an earlier training's weights"
    write_card(out, "Embedded LMM", _DESCRIPTION, scores, asdict(config), minutes, origin)
    return scores


def fit(learner: Learner, batches: PackedBatches, config: LmmTraining, log: Callable[[str], None]) -> Iterator[None]:
    """Train the language model on images and texts; yields whenever a checkpoint is due."""
    trained = [parameter for parameter in learner.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=config.learning_rate, betas=(0.9, 0.98), weight_decay=config.weight_decay)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: cosine(step, config.steps))
    started, recent = time.monotonic(), []
    for step in range(1, config.steps + 1):
        losses = learner(batches.draw())
        optimizer.zero_grad(set_to_none=True)
        losses.total.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        schedule.step()
        recent.append((losses.parts, losses.right))
        if step % 100 == 0:
            minutes = (time.monotonic() - started) / 60
            log(f"{NAME}: step {step}/{config.steps}, {minutes:.1f} min: {_summary(recent)}")
            recent = []
        if config.save_every and step % config.save_every == 0:
            yield


def _summary(recent: list[tuple[dict[str, float], tuple[tuple[str, bool], ...]]]) -> str:
    """Mean losses and, by job, the share of right answer tokens."""
    by_job: dict[str, list[bool]] = {}
    for job, right in (one for _, answers in recent for one in answers):
        by_job.setdefault(job, []).append(right)
    means = {part: np.mean([parts[part] for parts, _ in recent]) for part in recent[0][0]}
    shares = " ".join(f"{job} {np.mean(right):.2f}" for job, right in sorted(by_job.items()) if job)
    return f"loss {' '.join(f'{part} {mean:.3f}' for part, mean in means.items())}; right {shares}"


def _publish(llava: LlavaForConditionalGeneration, processor: LlavaProcessor, out: Path) -> None:
    with whole_folder(out) as scratch:
        llava.save_pretrained(scratch)
        processor.save_pretrained(scratch)
