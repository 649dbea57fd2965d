"""What the frozen encoders make of training rows, computed once and kept in half precision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ivm_model.data.embedding_cache import EmbeddingCache
from ivm_model.data.pixels import decode_to_fit, place, shrink_mask, valid_mask
from ivm_model.data.training_rows import TrainingRow
from ivm_model.engine.optimization import Progress, silent
from ivm_model.model.masking_model import Encoded, MaskingModel, Placement
from storage.errors import ShardError
from storage.records import Rle

ENCODE_BATCH = 16
DECODE_BATCH = 32


@dataclass(frozen=True)
class Batch:
    """Model inputs and targets of the rows `index_B`; `valid_BHW` is False where no loss is wanted: in the padding."""

    index_B: np.ndarray
    encoded: Encoded
    instructions: list[str]
    target_BHW: torch.Tensor
    valid_BHW: torch.Tensor


@dataclass(frozen=True)
class Features:
    """Frozen features of N rows over U different images.

    Memory: an image costs 2 (C h w + T D) bytes and a row side^2 bytes; 48 kB and 16 kB for the embedded experts.

    Attributes:
        image_N: index of each row's image.
        encoded: float16 embeddings of the U images.
        target_NHW: uint8 in [0, 255], each mask in SAM's padded square frame.
        instructions: N.
    """

    image_N: np.ndarray
    encoded: Encoded
    target_NHW: torch.Tensor
    instructions: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.image_N)

    def take(self, index_B: np.ndarray) -> Features:
        """Some of the rows, over the same images."""
        instructions = tuple(self.instructions[i] for i in index_B)
        return Features(self.image_N[index_B], self.encoded, self.target_NHW[index_B], instructions)

    def batch(self, index_B: np.ndarray) -> Batch:
        """Rows by index, as float32."""
        encoded, target_BHW = self.encoded_rows(index_B), self.target_NHW[index_B].float() / 255
        return Batch(
            index_B=index_B,
            encoded=encoded,
            instructions=[self.instructions[i] for i in index_B],
            target_BHW=target_BHW,
            valid_BHW=torch.stack([valid_mask(each, target_BHW.shape[1]) for each in encoded.placements]),
        )

    def encoded_rows(self, index_B: np.ndarray) -> Encoded:
        """The embeddings of some rows' images, as float32."""
        images = self.image_N[index_B]
        placements = tuple(self.encoded.placements[i] for i in images)
        return Encoded(self.encoded.sam_BCHW[images].float(), self.encoded.vision_BTC[images].float(), placements)


class FeatureBuilder:
    """Encodes rows one after the other, each different image once, into memory that is taken only once.

    Args:
        images, rows: how many will come at most.
        cache: where SAM's embeddings are kept between trainings.
    """

    def __init__(self, model: MaskingModel, images: int, rows: int, cache: EmbeddingCache | None = None) -> None:
        self._model, self._cache, self._images = model, cache, images
        self._slot: dict[str, int] = {}
        self._placements: list[Placement] = []
        self._pending: list[tuple[str, np.ndarray]] = []
        self._waiting: list[np.ndarray] = []
        self._image_N: list[int] = []
        self._instructions: list[str] = []
        self._target_NHW = np.empty((rows, model.side, model.side), np.uint8)
        self._encoded: tuple[torch.Tensor, torch.Tensor] | None = None

    def add(self, image_sha: str, image: bytes, mask: Rle, instruction: str) -> int:
        """Take a row; returns its index.

        Raises:
            OSError, ValueError: the image cannot be read, or the mask is not of its shape; the row is not taken.
        """
        if image_sha not in self._slot:
            image_HWC = decode_to_fit(image, self._model.side)
            mask_HW = shrink_mask(mask, *image_HWC.shape[:2])
            self._slot[image_sha] = len(self._slot)
            self._pending.append((image_sha, image_HWC))
        else:
            mask_HW = self._shrunk(mask, self._slot[image_sha])
        self._image_N.append(self._slot[image_sha])
        self._instructions.append(instruction)
        self._waiting.append(mask_HW)
        if len(self._pending) == ENCODE_BATCH:
            self._encode()
        return len(self._image_N) - 1

    def finish(self) -> Features:
        """The features of all rows that were taken.

        Raises:
            ValueError: no row was taken.
        """
        self._encode()
        if self._encoded is None:
            raise ValueError("there is no row to encode")
        sam_UCHW, vision_UTC = (kept[: len(self._placements)] for kept in self._encoded)
        target_NHW = torch.from_numpy(self._target_NHW[: len(self._image_N)])
        encoded = Encoded(sam_UCHW, vision_UTC, tuple(self._placements))
        return Features(np.array(self._image_N, np.int64), encoded, target_NHW, tuple(self._instructions))

    def _shrunk(self, mask: Rle, slot: int) -> np.ndarray:
        """The mask at the size that its image was encoded at, or will be."""
        if slot < len(self._placements):
            return shrink_mask(mask, *self._placements[slot].original_hw)
        return shrink_mask(mask, *self._pending[slot - len(self._placements)][1].shape[:2])

    def _encode(self) -> None:
        if self._pending:
            names, images = zip(*self._pending, strict=True)
            kept = None if self._cache is None else self._cache.embed(images, names)
            self._keep(self._model.encode(images, kept))
            self._pending.clear()
        first = len(self._image_N) - len(self._waiting)
        for n, mask_HW in enumerate(self._waiting, first):
            self._target_NHW[n] = place(mask_HW, self._placements[self._image_N[n]], self._model.side)
        self._waiting.clear()

    def _keep(self, part: Encoded) -> None:
        parts, first = (part.sam_BCHW.cpu(), part.vision_BTC.cpu()), len(self._placements)
        if self._encoded is None:
            sam, vision = (torch.empty((self._images, *each.shape[1:]), dtype=torch.float16) for each in parts)
            self._encoded = (sam, vision)
        for kept, each in zip(self._encoded, parts, strict=True):
            kept[first : first + len(each)] = each.half()
        self._placements += part.placements


def encode_rows(
    model: MaskingModel,
    rows: Sequence[TrainingRow],
    progress: Progress = silent,
    cache: EmbeddingCache | None = None,
) -> Features:
    """Encode rows that are in memory.

    Raises:
        ShardError: an image cannot be read, or a mask is not of its image's shape.
    """
    builder = FeatureBuilder(model, len({row.image_sha for row in rows}), len(rows), cache)
    for done, row in enumerate(rows, 1):
        try:
            builder.add(row.image_sha, row.image, row.mask, row.instruction)
        except (OSError, ValueError) as error:
            raise ShardError(f"sample {row.sample_id} cannot be read: {error}; label its part again") from error
        progress("encode", done, len(rows))
    return builder.finish()


def bytes_of(model: MaskingModel) -> tuple[int, int]:
    """Memory in bytes that `Features` take for an image, and for a row."""
    one = model.encode([np.zeros((model.side, model.side, 3), np.uint8)])
    return 2 * (one.sam_BCHW.numel() + one.vision_BTC.numel()), model.side**2
