"""A step of the paper's training as a plain loop does it: the libraries' own calls, a batch after the other.

The masking model is ours, so that both loops start from the same weights and learn the same thing. What is plain: each
row is read, decoded and preprocessed where it is needed, both processors run on the whole batch, the LMM's own forward
pass sees pixels and gives all hidden states and logits, and nothing is kept, checkpointed or read ahead.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence

import cv2
import numpy as np
import torch
from PIL import Image
from torch.nn import functional

from ivm_model.engine.losses import mask_loss
from ivm_model.model.lmm import Reading
from ivm_model.model.masking_model import GENERATOR, MaskingModel
from storage.pixels import rle
from storage.records import Label


def losses(model: MaskingModel, rows: Sequence[Label], batch: int, rate: float = 3e-4) -> Iterator[float]:
    """Learn from batch after batch, in bfloat16, until the rows end; gives the loss of each step."""
    optimizer = torch.optim.AdamW(model.trained_parameters().values(), lr=rate)
    model.train()
    for start in range(0, len(rows) - batch + 1, batch):
        loss = loss_of(model, rows[start : start + batch])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(list(model.trained_parameters().values()), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        yield loss.item()


def loss_of(model: MaskingModel, rows: Sequence[Label]) -> torch.Tensor:
    """The mean loss of some rows whose model is the paper's kind: SAM and LLaVA, square images, no dense features."""
    side, lmm, device = model.side, model.lmm, model.device
    squares = [Image.open(io.BytesIO(row.sample.image)).convert("RGB").resize((side, side), 3) for row in rows]
    target_BHW = torch.from_numpy(np.stack([_mask(row, side) for row in rows])).to(device)
    prompts = [lmm.prompt.replace("{image}", lmm.processor.image_token) for _ in rows]
    texts = [prompt.replace("{text}", row.sample.instruction) for prompt, row in zip(prompts, rows, strict=True)]
    inputs = lmm.processor(text=texts, images=squares, padding=True, padding_side="right", return_tensors="pt").to(
        device
    )
    lmm.model.enable_adapters()
    lmm.model.set_adapter(GENERATOR)
    with torch.autocast(device.type, torch.bfloat16):
        with torch.no_grad():
            sam_BCHW = model.sam_encoder([np.asarray(square) for square in squares])
        inputs["pixel_values"] = inputs["pixel_values"].to(lmm.model.dtype)
        states_BLC = lmm.model(**inputs, output_hidden_states=True).hidden_states[-1]
        last_B = inputs["attention_mask"].sum(1) - 1
        reading = Reading(states_BLC.float(), inputs["attention_mask"].bool(), last_B, states_BLC)
        logits_BHW = model.decoder(sam_BCHW, reading, states_BLC)
        whole_B1HW = functional.interpolate(logits_BHW[:, None], (side, side), mode="bilinear", align_corners=False)
    return mask_loss(whole_B1HW[:, 0].float(), target_BHW).mean()


def _mask(row: Label, side: int) -> np.ndarray:
    """float32 in [0, 1]."""
    mask = row.sample.human_mask or row.mask
    return cv2.resize(rle.decode(mask).astype(np.float32), (side, side), interpolation=cv2.INTER_LINEAR)
