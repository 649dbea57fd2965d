"""What the frozen encoders see in the training rows, computed once and kept in half precision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch

from ivm_model.dataset import Row, decode_image
from ivm_model.model import Encoded, Frame, MaskingModel
from ivm_model.optimization import Progress, silent
from storage import rle

ENCODE_BATCH = 16


@dataclass(frozen=True)
class Features:
    """Frozen features of N rows over U different images.

    Memory: an image costs 2 (C h w + T D) bytes and a row side^2 bytes; 48 kB and 16 kB for the embedded experts.

    Attributes:
        rows: the rows.
        image_N: index of each row's image.
        encoded: float16 embeddings of the U images.
        target_NHW: uint8 in [0, 255], each mask in SAM's padded square frame.
    """

    rows: tuple[Row, ...]
    image_N: np.ndarray
    encoded: Encoded
    target_NHW: torch.Tensor

    def batch(self, index_B: np.ndarray) -> Batch:
        """Rows by index, as float32."""
        encoded, target_BHW = self.encoded_rows(index_B), self.target_NHW[index_B].float() / 255
        return Batch(
            encoded=encoded,
            instructions=[self.rows[i].instruction for i in index_B],
            target_BHW=target_BHW,
            valid_BHW=torch.stack([valid_mask(frame, target_BHW.shape[1]) for frame in encoded.frames]),
        )

    def encoded_rows(self, index_B: np.ndarray) -> Encoded:
        """The embeddings of some rows' images, as float32."""
        images = self.image_N[index_B]
        frames = tuple(self.encoded.frames[i] for i in images)
        return Encoded(self.encoded.sam_BCHW[images].float(), self.encoded.vision_BTC[images].float(), frames)


@dataclass(frozen=True)
class Batch:
    """Model inputs and targets; `valid_BHW` is False in the padding."""

    encoded: Encoded
    instructions: list[str]
    target_BHW: torch.Tensor
    valid_BHW: torch.Tensor


def encode_rows(model: MaskingModel, rows: Sequence[Row], progress: Progress = silent) -> Features:
    """Encode each different image once."""
    first: dict[str, int] = {}
    image_N = np.array([first.setdefault(row.image_key, len(first)) for row in rows], np.int64)
    chosen = [rows[int(np.flatnonzero(image_N == i)[0])] for i in range(len(first))]
    parts = []
    for start in range(0, len(chosen), ENCODE_BATCH):
        part = model.encode([decode_image(row) for row in chosen[start : start + ENCODE_BATCH]])
        parts.append(Encoded(part.sam_BCHW.half(), part.vision_BTC.half(), part.frames))
        progress("encode", min(start + ENCODE_BATCH, len(chosen)), len(chosen))
    encoded = Encoded(
        torch.cat([part.sam_BCHW for part in parts]),
        torch.cat([part.vision_BTC for part in parts]),
        tuple(frame for part in parts for frame in part.frames),
    )
    targets = [
        to_frame(rle.decode(row.mask), encoded.frames[i], model.side) for row, i in zip(rows, image_N, strict=True)
    ]
    return Features(tuple(rows), image_N, encoded, torch.from_numpy(np.stack(targets)))


def to_frame(mask_HW: np.ndarray, frame: Frame, side: int) -> np.ndarray:
    """A bool mask in SAM's padded square frame: uint8, 255 where wholly covered."""
    height, width = frame.resized_hw
    smaller = height < mask_HW.shape[0]
    resized_HW = cv2.resize(
        mask_HW.astype(np.uint8) * 255, (width, height), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    )
    target_HW = np.zeros((side, side), np.uint8)
    target_HW[:height, :width] = resized_HW
    return target_HW


def valid_mask(frame: Frame, side: int) -> torch.Tensor:
    """valid_HW bool: True on the image, False in the padding."""
    valid_HW = torch.zeros(side, side, dtype=torch.bool)
    valid_HW[: frame.resized_hw[0], : frame.resized_hw[1]] = True
    return valid_HW
