"""Dense pretraining of the miniature LMM's tower: every image token learns to name what its patch shows.

Without it the language model hardly starts to learn from yes and no.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, rms_norm, smooth_l1_loss
from transformers import LlavaForConditionalGeneration, LlavaProcessor

from ivm_data.worlds.scene import ATTRIBUTES, COLOURS, HELD_OUT, SHAPES, Scene
from ivm_data.zoo.training.lmm_colours import recoloured
from ivm_data.zoo.training.lmm_masks import CORRUPTIONS, imperfect, union
from ivm_data.zoo.training.lmm_model import Size
from ivm_data.zoo.training.lmm_patches import AMOUNTS, CONTRASTS, EXTENT, IGNORED, OUTLINE, Patches
from ivm_data.zoo.training.lmm_views import SceneView, candidate_view, corrupted, dimmed_view, instances, pixels
from ivm_data.zoo.training.schedule import cosine, minibatches
from ivm_model.masking import complement, keep_only

WAYS = {"whole": 0.38, "crop": 0.2, "dimmed": 0.3, "kept": 0.06, "removed": 0.06}
"""Each way to look at a scene with its share."""
WHOLE_SHARE = 0.6
"""Of the steps, at first, that show whole scenes only: among crops and faded things shapes are learned far slower."""
NOTHING_WEIGHT = 0.3
"""Of the patches that show no thing, beside those that show one: there are many, and they are easy."""
RECOLOURED_SHARE = 0.5
"""Of the looks, in false colours: what a shape is must not depend on what has a colour."""
_NEVER = -1e4


@dataclass(frozen=True)
class Seen:
    """The loss to minimise and, of the patches that show a thing, the share whose word was right, by attribute."""

    loss: torch.Tensor
    right: dict[str, float]


class DenseHeads(nn.Module):
    """Reads patches from the tower's features and from the image tokens; dropped after the pretraining."""

    def __init__(self, size: Size, processor: LlavaProcessor) -> None:
        super().__init__()
        vocabulary = processor.tokenizer.vocab
        self.word_ids = [[vocabulary[word] for word in words] for words in ATTRIBUTES.values()]
        self.contrast = nn.ModuleList(nn.Linear(size.tower_width, AMOUNTS) for _ in CONTRASTS)
        self.outline = nn.Linear(size.tower_width, OUTLINE * OUTLINE)
        self.extent = nn.Linear(size.tower_width, EXTENT)

    def forward(self, llava: LlavaForConditionalGeneration, pixels_BCHW: torch.Tensor, seen: Patches) -> Seen:
        """Loss of a batch: the patches' words, contrast, outline, and where their things end.

        Combinations of colour and shape that training never shows are never denied either: on a red patch the shapes
        compete without "triangle". With it, the tower learned that red is no triangle, and named 0.19 of such things
        right where it named 0.79 of others.

        The words are read from the image token that the language model gets, as the dot product with their embeddings:
        "red" in a question then looks like the tokens of red things before any question was asked. The token is taken
        as the language model's first norm leaves it; else a large common part hides the words from its attention.
        """
        image = llava.get_image_features(pixels_BCHW, output_hidden_states=True, return_dict=True)
        features_BPC, tokens_BPC = image.hidden_states[-1], torch.stack(list(image.pooler_output))
        tokens_BPC = rms_norm(tokens_BPC, tokens_BPC.shape[-1:])
        there_BP = seen.word_BPH[..., 0] > 0
        nothing_BP1 = tokens_BPC.new_zeros((*tokens_BPC.shape[:2], 1))
        words = [torch.cat([nothing_BP1, tokens_BPC @ llava.lm_head.weight[ids].T], -1) for ids in self.word_ids]
        words = [
            logits_BPK.masked_fill(unshown(seen.word_BPH, name), _NEVER)
            for logits_BPK, name in zip(words, ATTRIBUTES, strict=True)
        ]
        loss = binary_cross_entropy_with_logits(self.outline(features_BPC), seen.outline_BPS)
        loss = loss + smooth_l1_loss(self.extent(features_BPC[there_BP]), seen.extent_BP4[there_BP], beta=0.1)
        for logits_BPK, target_BP in zip(words, seen.word_BPH.unbind(-1), strict=False):
            asked_BP = target_BP != IGNORED
            for where_BP, weight in ((there_BP & asked_BP, 1.0), (~there_BP & asked_BP, NOTHING_WEIGHT)):
                if where_BP.any():
                    loss = loss + weight * cross_entropy(logits_BPK[where_BP], target_BP[where_BP])
        for head, target_BP in zip(self.contrast, seen.word_BPH.unbind(-1)[len(words) :], strict=True):
            if (target_BP != IGNORED).any():
                loss = loss + cross_entropy(head(features_BPC).flatten(0, 1), target_BP.flatten(), ignore_index=IGNORED)
        right = {
            name: _share_right(words[k][there_BP], seen.word_BPH[..., k][there_BP]) for k, name in enumerate(ATTRIBUTES)
        }
        return Seen(loss, right)


def unshown(word_BPH: torch.Tensor, asked: str) -> torch.Tensor:
    """Words of an attribute that training never shows with what a patch's thing is, (B, P, 1 + words) bool."""
    given = {"colour": "shape", "shape": "colour"}.get(asked)
    width = 1 + len(ATTRIBUTES[asked])
    if given is None:
        return torch.zeros(1, 1, width, dtype=torch.bool)
    table = torch.zeros(1 + len(ATTRIBUTES[given]), width, dtype=torch.bool)
    for colour, shape in HELD_OUT:
        index = {"colour": COLOURS.index(colour) + 1, "shape": SHAPES.index(shape) + 1}
        table[index[given], index[asked]] = True
    return table[word_BPH[..., list(ATTRIBUTES).index(given)].clamp(min=0)]


def teach(
    llava: LlavaForConditionalGeneration,
    processor: LlavaProcessor,
    scenes: Sequence[Scene],
    size: Size,
    *,
    steps: int,
    batch: int,
    learning_rate: float,
    rng: np.random.Generator,
    log: Callable[[str], None],
) -> None:
    """Train tower, projector and word embeddings; nothing of the language model else."""
    heads = DenseHeads(size, processor)
    parts = (llava.model.vision_tower, llava.model.multi_modal_projector, llava.lm_head, heads)
    trained = [parameter for part in parts for parameter in part.parameters()]
    optimizer = torch.optim.AdamW(trained, lr=learning_rate, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: cosine(step, steps))
    started, recent = time.monotonic(), []
    for step, rows in enumerate(minibatches(len(scenes), batch, steps, rng), start=1):
        ways = {"whole": 1.0} if step < WHOLE_SHARE * steps else WAYS
        looks = [draw_look(scenes[int(i)], ways, rng) for i in rows]
        seen = heads(llava, pixels(looks, size), Patches.of(looks, size))
        optimizer.zero_grad()
        seen.loss.backward()
        nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        schedule.step()
        recent.append(list(seen.right.values()))
        if step % 100 == 0:
            said = ", ".join(
                f"{name} {value:.2f}" for name, value in zip(ATTRIBUTES, np.nanmean(recent, 0), strict=True)
            )
            log(f"tower: step {step}/{steps}, {(time.monotonic() - started) / 60:.1f} min, right {said}")
            recent = []


def draw_look(scene: Scene, ways: dict[str, float], rng: np.random.Generator) -> SceneView:
    """A view without questions, of a kind that questions are asked about; some in false colours."""
    look = _draw_look(scene, ways, rng)
    return in_false_colours(look, rng) if rng.random() < RECOLOURED_SHARE else look


def in_false_colours(look: SceneView, rng: np.random.Generator) -> SceneView:
    """The same look `recoloured`."""
    image_HWC = recoloured(look.image_HWC, look.instance_HW, look.scene, rng)
    return replace(look, image_HWC=image_HWC, recoloured=True)


def _share_right(logits_NK: torch.Tensor, target_N: torch.Tensor) -> float:
    right_N = (logits_NK.argmax(-1) == target_N)[target_N != IGNORED]
    return right_N.float().mean().item() if len(right_N) else float("nan")


def _draw_look(scene: Scene, ways: dict[str, float], rng: np.random.Generator) -> SceneView:
    way = str(rng.choice(list(ways), p=list(ways.values())))
    if way == "whole":
        return SceneView(scene.image_HWC, scene, instances(scene), ())
    if way == "crop":
        return candidate_view(scene, [], rng)
    targets = tuple(rng.permutation(len(scene.things))[: rng.integers(1, 4)].tolist())
    if way == "dimmed":
        _, mask_HW = corrupted(scene, targets, str(rng.choice(["", *CORRUPTIONS])), rng)
        return dimmed_view(scene, mask_HW)
    mask_HW = imperfect(union(scene, targets), rng)
    if way == "kept":
        return SceneView(keep_only(scene.image_HWC, mask_HW), scene, np.where(mask_HW, instances(scene), 0), ())
    return SceneView(complement(scene.image_HWC, mask_HW), scene, np.where(mask_HW, 0, instances(scene)), ())
