"""What an LMM and a masking model make of labels: evidence that a judge might learn from beside their scores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from ivm_model.data.pixels import place, valid_mask
from ivm_model.discriminator.agreement import agreement
from ivm_model.discriminator.network import DiscriminatorConfig
from ivm_model.masking import keep_only
from ivm_model.model.lmm import Lmm
from ivm_model.model.masking_model import MaskingModel
from storage.data_set import DataSet
from storage.pixels import rle
from storage.pixels.images import decode
from storage.records import Label

BATCH = 16
QUESTION = DiscriminatorConfig().question


def evidence(folders: Sequence[Path], model: MaskingModel, cache: Path) -> dict[str, dict[str, np.ndarray]]:
    """Sample id -> "agreement" with the model's heatmap, "state" of the frozen LMM over the image with only the mask's
    pixels (of an empty mask: the whole image), and that image as "vision" features; kept in `cache` from one run to the
    next.
    """
    found: dict[str, dict[str, np.ndarray]] = {}
    cache.mkdir(parents=True, exist_ok=True)
    for folder in folders:
        with DataSet.open(folder, gate="written") as data:
            path = cache / f"{data.now().name}.npz"
            if not path.exists():
                looked = list(_look(data.labels(), model))
                names, columns = np.array([name for name, _ in looked]), [one for _, one in looked]
                np.savez(path, names=names, **{key: np.stack([one[key] for one in columns]) for key in columns[0]})
        with np.load(path) as kept:
            held = {key: kept[key] for key in kept.files}
        for n, name in enumerate(held.pop("names").tolist()):
            found[name] = {key: values[n] for key, values in held.items()}
    return found


@torch.no_grad()
def _look(labels: Iterator[Label], model: MaskingModel) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    while batch := list(islice(labels, BATCH)):
        images = [decode(label.sample.image) for label in batch]
        masks = [rle.decode(label.mask) for label in batch]
        shown = [keep_only(im, m, dim=1.0) if m.any() else im for im, m in zip(images, masks, strict=True)]
        vision_BTC = model.lmm.see(model.fit(shown))
        state_BC = model.lmm.read([question(label) for label in batch], vision_BTC, None).last
        encoded = model.encode(images)
        logit_BHW = model(encoded, [label.sample.instruction for label in batch])
        placed = [
            place(rle.decode_gray(one.mask), at, model.side) for one, at in zip(batch, encoded.placements, strict=True)
        ]
        valid_BHW = torch.stack([valid_mask(at, model.side) for at in encoded.placements])
        agreed_BF = agreement(logit_BHW, torch.from_numpy(np.stack(placed)).float() / 255, valid_BHW)
        heat_BHW = logit_BHW.sigmoid() * valid_BHW
        seen_BF = torch.cat([agreed_BF, heat_BHW.amax((1, 2))[:, None], heat_BHW.mean((1, 2))[:, None]], 1)
        for n, label in enumerate(batch):
            yield (
                label.sample.id,
                {
                    "agreement": seen_BF[n].numpy(),
                    "state": state_BC[n].numpy(),
                    "vision": vision_BTC[n].half().numpy(),
                },
            )


def question(label: Label) -> str:
    """What the discriminator asks of a label."""
    return QUESTION.format(instruction=label.sample.instruction)


@dataclass(frozen=True, eq=False)
class Shown:
    """What the LMM is shown of N labels: vision features, vision_NTC float16, and a question each."""

    vision_NTC: np.ndarray
    texts: Sequence[str]


def lora_judge(lmm: Lmm, shown: Shown, right_N: np.ndarray, taught: np.ndarray, steps: int) -> np.ndarray:
    """P(right) of all N labels by a linear head on the LMM's state, under a LoRA that learns with it; float64 (N,).

    Args:
        taught: indices of the labels whose verdict teaches, as many right as wrong ones in a batch of 32.
        steps: of AdamW, 5e-4 for the LoRA and 1e-2 for the head, as the discriminator's.
    """
    torch.manual_seed(0)
    rng, role = np.random.default_rng(0), "judge"
    lmm.add_role(role)
    head = torch.nn.Linear(lmm.hidden_size, 1)
    norm = torch.nn.LayerNorm(lmm.hidden_size, elementwise_affine=False)
    lora = list(lmm.role_parameters(role).values())
    optimizer = torch.optim.AdamW([{"params": lora, "lr": 5e-4}, {"params": head.parameters(), "lr": 1e-2}])

    def logits(index_B: np.ndarray) -> torch.Tensor:
        vision_BTC = torch.from_numpy(shown.vision_NTC[index_B]).float()
        logit_B1: torch.Tensor = head(norm(lmm.read([shown.texts[i] for i in index_B], vision_BTC, role).last))
        return logit_B1[:, 0]

    sides = [taught[right_N[taught] == side] for side in (False, True)]
    lmm.train()
    for _ in range(steps):
        index_B = np.concatenate([rng.choice(side, 16) for side in sides])
        loss = torch.nn.functional.binary_cross_entropy_with_logits(
            logits(index_B), torch.from_numpy(right_N[index_B]).float()
        )
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    lmm.train(False)
    with torch.no_grad():
        parts = np.array_split(np.arange(len(shown.texts)), max(1, len(shown.texts) // 64))
        p_N: np.ndarray = torch.cat([logits(part).sigmoid() for part in parts]).numpy().astype(float)
    lmm.drop_role(role)
    return p_N
