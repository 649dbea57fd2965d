"""What the frozen encoders see in the training rows, computed once and kept in half precision."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
import torch

from ivm_model.data.dataset import TrainingRow, decode_image
from ivm_model.data.embedding_cache import EmbeddingCache
from ivm_model.data.pixels import decode_to_fit
from ivm_model.engine.optimization import Progress, silent
from ivm_model.model.masking_model import Encoded, MaskingModel, Placement
from storage import rle
from storage.errors import ShardError
from storage.records import Rle
from storage.rows import image_sha

ENCODE_BATCH = 16
DECODE_BATCH = 32


class Feed(Protocol):
    """Rows to train on, wherever they are kept."""

    def epoch(self, usable_K: np.ndarray, number: int, rng: np.random.Generator) -> np.ndarray:
        """What is drawn in an epoch, in order: each of the usable rows, as a draw that `batches` understands."""
        ...

    def batches(self, draws: Iterable[np.ndarray]) -> Iterator[Batch]:
        """The batch of each draw, on the CPU or the model's device."""
        ...


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

    rows: tuple[TrainingRow, ...]
    image_N: np.ndarray
    encoded: Encoded
    target_NHW: torch.Tensor

    def epoch(self, usable_K: np.ndarray, number: int, rng: np.random.Generator) -> np.ndarray:
        """The usable rows in random order."""
        return rng.permutation(usable_K)

    def batches(self, draws: Iterable[np.ndarray]) -> Iterator[Batch]:
        """The rows of each draw."""
        return map(self.batch, draws)

    def batch(self, index_B: np.ndarray) -> Batch:
        """Rows by index, as float32."""
        encoded, target_BHW = self.encoded_rows(index_B), self.target_NHW[index_B].float() / 255
        return Batch(
            index_B=index_B,
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
    """Model inputs and targets of the rows `index_B`; `valid_BHW` is False where no loss is wanted: in the padding."""

    index_B: np.ndarray
    encoded: Encoded
    instructions: list[str]
    target_BHW: torch.Tensor
    valid_BHW: torch.Tensor


def encode_rows(
    model: MaskingModel,
    rows: Sequence[TrainingRow],
    progress: Progress = silent,
    cache: EmbeddingCache | None = None,
    *,
    shrunk: bool = False,
) -> Features:
    """Encode each different image once.

    Args:
        cache: where SAM's embeddings are kept between trainings.
        shrunk: decode images no larger than the model takes them, as a stream does, which reserved the cache's room.

    Raises:
        ConfigError: the cache's disk lacks room.
        ShardError: an image cannot be read, or a mask is not of its image's size.
    """
    first: dict[str, int] = {}
    image_N = np.array([first.setdefault(row.image_key, len(first)) for row in rows], np.int64)
    chosen = [rows[int(np.flatnonzero(image_N == i)[0])] for i in range(len(first))]
    if cache is not None and not shrunk:
        cache.reserve([image_sha(row.image) for row in chosen])
    parts = []
    for start in range(0, len(chosen), ENCODE_BATCH):
        batch = chosen[start : start + ENCODE_BATCH]
        images = [_pixels(row, model.side if shrunk else 0) for row in batch]
        kept = None if cache is None else cache.embed(images, [image_sha(row.image) for row in batch])
        part = model.encode(images, kept)
        parts.append(Encoded(part.sam_BCHW.half().cpu(), part.vision_BTC.half().cpu(), part.frames))
        progress("encode", min(start + ENCODE_BATCH, len(chosen)), len(chosen))
    encoded = Encoded(
        torch.cat([part.sam_BCHW for part in parts]),
        torch.cat([part.vision_BTC for part in parts]),
        tuple(frame for part in parts for frame in part.frames),
    )
    for row, i in zip(rows, image_N, strict=True):
        height, width = encoded.frames[i].original_hw
        if not (
            same_shape(row.mask, height, width) if shrunk else (row.mask.height, row.mask.width) == (height, width)
        ):
            raise ShardError(
                f"sample {row.sample_id} has a mask of {row.mask.width}x{row.mask.height} on an image of "
                f"{width}x{height}; label its part again"
            )
    targets = [
        to_frame(rle.decode(row.mask), encoded.frames[i], model.side) for row, i in zip(rows, image_N, strict=True)
    ]
    return Features(tuple(rows), image_N, encoded, torch.from_numpy(np.stack(targets)))


def decode_rows(model: MaskingModel, features: Features) -> Iterator[np.ndarray]:
    """The model's heatmap of each row, HW float32 in [0, 1] of the image's size."""
    for start in range(0, len(features.rows), DECODE_BATCH):
        index_B = np.arange(start, min(start + DECODE_BATCH, len(features.rows)))
        yield from model.decode(features.encoded_rows(index_B), [features.rows[i].instruction for i in index_B])


def _pixels(row: TrainingRow, side: int) -> np.ndarray:
    """The image, its longer side at most `side` pixels unless that is 0."""
    try:
        return decode_to_fit(row.image, side) if side else decode_image(row)
    except (OSError, ValueError) as error:
        raise ShardError(
            f"the image of sample {row.sample_id} cannot be read: {error}; label its part again"
        ) from error


def to_frame(mask_HW: np.ndarray, frame: Placement, side: int) -> np.ndarray:
    """A bool mask in SAM's padded square frame: uint8, 255 where wholly covered."""
    return place(mask_HW.astype(np.uint8) * 255, frame, side)


def same_shape(mask: Rle, height: int, width: int) -> bool:
    """Whether a mask belongs to an image that may have been shrunk: they have the same sides but for rounding."""
    return abs(height * mask.width - width * mask.height) <= max(mask.height, mask.width)


def place(mask_HW: np.ndarray, frame: Placement, side: int) -> np.ndarray:
    """A soft uint8 mask in SAM's padded square frame."""
    height, width = frame.resized_hw
    smaller = height < mask_HW.shape[0]
    target_HW = np.zeros((side, side), np.uint8)
    target_HW[:height, :width] = cv2.resize(
        mask_HW, (width, height), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    )
    return target_HW


def valid_mask(frame: Placement, side: int) -> torch.Tensor:
    """valid_HW bool: True on the image, False in the padding."""
    valid_HW = torch.zeros(side, side, dtype=torch.bool)
    valid_HW[: frame.resized_hw[0], : frame.resized_hw[1]] = True
    return valid_HW
