"""Segment Anything's way from prompts to masks (Kirillov et al., 2023, arXiv 2304.02643), for any code of the model."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from ivm_data.experts.common.batches import Batches
from ivm_data.experts.common.checkpoint_expert import CheckpointExpert
from ivm_data.experts.common.finite import check_finite
from ivm_data.experts.common.padding import padded_image
from ivm_data.experts.common.prefetch import THREADS, ahead
from ivm_data.experts.common.protocols import Segmentation, check_lengths
from ivm_data.experts.common.seen_images import SeenImages
from ivm_model.model.base_models import Dtype
from storage.common.validation import Checked, Count, Positive
from storage.records import Box

if TYPE_CHECKING:
    import torch

_PIXELS_PER_CHUNK = 1 << 25
"""Upscaled logits kept at once (128 MiB of float32), so that many prompts on a large photo fit in memory."""

MAX_ASPECT = 64
"""A narrower image is padded: resized to the encoder's side, its short edge would round to nothing."""


@dataclass(frozen=True, kw_only=True)
class MaskConfig(Checked):
    """Where the weights lie, and how prompts become masks.

    Attributes:
        path: checkpoint directory or hub id; for the original code a `.pth` file.
        revision: of the hub, or what the lineage says of a file; "" means the content hash, or "main".
        device: torch device.
        dtype: in which the image encoder computes; prompts and masks are float32.
        images_per_batch: images that pass through the image encoder together. More than one changes the last digits of
            an image's masks with the others, so that its answers are not kept (`KeptExpert`).
        prompts_per_batch: prompts that pass through the mask decoder together.
        stability_offset: d of the stability score, in logits.
    """

    path: str = field(kw_only=False)
    revision: str = ""
    device: str = "cpu"
    dtype: Dtype = "float32"
    images_per_batch: Count = 1
    prompts_per_batch: Count = 64
    stability_offset: Positive = 1.0


@dataclass(frozen=True, eq=False)
class JoinedPrompt:
    """Points, and perhaps a box, that together mean one thing.

    Attributes:
        points_P2: (x, y) pixels of the image, at least one.
        wanted_P: bool, whether each point lies on the thing, or beside it.
    """

    points_P2: np.ndarray
    wanted_P: np.ndarray
    box: Box | None = None


SomeMaskConfig = TypeVar("SomeMaskConfig", bound=MaskConfig)


class PromptedSegmenter(CheckpointExpert[SomeMaskConfig]):
    """A SAM of transformers or of the original code: one image embedding serves all prompts of an image.

    Sizes are (height, width); "resized" means before padding to the encoder's square.
    """

    def __init__(self, config: SomeMaskConfig) -> None:
        super().__init__(config)
        self.images = Batches(config.images_per_batch)
        self.prompts = Batches(config.prompts_per_batch)
        self._seen: SeenImages[tuple[Any, tuple[int, int]]] = SeenImages()

    def together(self, verb: str, rows: Sequence[tuple[Any, ...]]) -> list[list[int]] | None:
        """Each image with its prompts alone (`KeptExpert`), unless images are encoded together."""
        return [[i] for i in range(len(rows))] if self.config.images_per_batch == 1 else None

    def segment(self, images: Sequence[np.ndarray], boxes: Sequence[Sequence[Box]]) -> list[Segmentation]:
        """A mask for each box of each image, from the single-mask token."""
        return self._segment(images, corners(boxes), is_box=True)

    def segment_points(self, images: Sequence[np.ndarray], points: Sequence[np.ndarray]) -> list[Segmentation]:
        """A mask for each foreground point: of the ambiguity-aware masks the one with the best predicted IoU."""
        return self._segment(images, foreground(points), is_box=False)

    @property
    def joins_prompts(self) -> bool:
        """Whether the model was trained to refine a mask by one point after the other, as released ones are.

        Their decoder has three ambiguity-aware masks; one with a single such mask, as the embedded one, learned single
        prompts only.
        """
        self.load()
        return self._ambiguous_masks > 1

    def segment_joined(self, image_HWC: np.ndarray, prompt: JoinedPrompt) -> Segmentation:
        """One mask for all of a prompt, from the single-mask token; for a model that joins prompts."""
        import torch

        self.load()
        with closing(self.embed([image_HWC])) as embedded:
            embedding, resized_hw = next(embedded)
        frame = _Frame(image_HWC.shape[:2], padded_image(image_HWC, MAX_ASPECT).shape[:2], resized_hw)
        points_P2 = torch.from_numpy(np.asarray(prompt.points_P2, np.float32) * frame.scale)
        wanted_P = torch.from_numpy(np.asarray(prompt.wanted_P, np.int32))
        box = corners([[prompt.box]])[0][0] * frame.scale if prompt.box else None
        logits, iou = self.decode_joined(embedding, points_P2, wanted_P, None if box is None else torch.from_numpy(box))
        return Segmentation(*_finish(frame.upscaled(self, logits.float()), iou.float()[:, 0], self.config))

    @property
    @abstractmethod
    def _ambiguous_masks(self) -> int:
        """Ambiguity-aware masks of the loaded decoder."""

    def _segment(
        self, images: Sequence[np.ndarray], prompts: Sequence[np.ndarray], *, is_box: bool
    ) -> list[Segmentation]:
        """One image embedding for all prompts of an image; none at all for an image without prompts."""
        check_lengths(images, prompts, "list of prompts")
        self.load()
        results = [_empty(image) for image in images]
        asked = [i for i, row in enumerate(prompts) if len(row)]
        with closing(self.embed([images[i] for i in asked])) as embedded:
            for i, (embedding, resized_hw) in zip(asked, embedded, strict=True):
                frame = _Frame(images[i].shape[:2], padded_image(images[i], MAX_ASPECT).shape[:2], resized_hw)
                results[i] = _decode(self, embedding, frame, prompts[i], is_box=is_box)
        return results

    def embed(self, images: Sequence[np.ndarray]) -> Generator[tuple[Any, tuple[int, int]], None, None]:
        """Image embedding, as `decode` takes it, and resized size, for each image; none is computed twice in a row.

        Threads preprocess the next images while the encoder works.
        """
        self.load()
        seen = [self._seen.get(image) for image in images]
        fresh = [image for image, known in zip(images, seen, strict=True) if known is None]
        with closing(ahead(self._prepare, fresh, depth=2 * self.images.size, threads=THREADS)) as prepared:
            new = self.images.run(self._encode, prepared)
            for image, known in zip(images, seen, strict=True):
                embedding = next(new) if known is None else known
                self._seen.put(image, embedding)
                yield embedding

    def _prepare(self, image_HWC: np.ndarray) -> tuple[torch.Tensor, tuple[int, int]]:
        return self.preprocess(padded_image(image_HWC, MAX_ASPECT))

    def _encode(self, batch: Sequence[tuple[torch.Tensor, tuple[int, int]]]) -> Iterable[tuple[Any, tuple[int, int]]]:
        pixels, sizes = zip(*batch, strict=True)
        return zip(self.encode(pixels), sizes, strict=True)

    @abstractmethod
    def preprocess(self, image_HWC: np.ndarray) -> tuple[torch.Tensor, tuple[int, int]]:
        """Pixels (3, h, w) on the CPU, as `encode` takes them, and the resized size; called from several threads."""

    @abstractmethod
    def encode(self, pixels: Sequence[torch.Tensor]) -> Iterable[Any]:
        """The embedding, as `decode` takes it, of each image."""

    @abstractmethod
    def decode(self, embedding: Any, prompts_NP2: torch.Tensor, is_box: bool) -> tuple[torch.Tensor, torch.Tensor]:
        """Low-resolution logits (N, M, h, w) and predicted IoU (N, M) of the M masks for each prompt.

        Args:
            embedding: of one image.
            prompts_NP2: float32 (x, y) pixels of the resized image: two corners of a box, or one foreground point.
            is_box: a box has one mask (M = 1); a point has the ambiguity-aware ones.
        """

    @abstractmethod
    def decode_joined(
        self, embedding: Any, points_P2: torch.Tensor, wanted_P: torch.Tensor, corners_22: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Low-resolution logits (1, 1, h, w) and predicted IoU (1, 1) of the mask for points and a box together.

        Args:
            points_P2: float32 (x, y) pixels of the resized image.
            wanted_P: int32, 1 for a point on the thing and 0 for one beside it.
            corners_22: two corners of a box; None for no box.
        """

    @abstractmethod
    def upscale(
        self, logits_N1hw: torch.Tensor, original_hw: tuple[int, int], resized_hw: tuple[int, int]
    ) -> torch.Tensor:
        """Logits (N, 1, H, W) of the original size."""


def corners(boxes: Sequence[Sequence[Box]]) -> list[np.ndarray]:
    """Box prompts: the two corners (N, 2, 2) of each box, for each image."""
    return [np.array([(b.x0, b.y0, b.x1, b.y1) for b in row], np.float32).reshape(-1, 2, 2) for row in boxes]


def foreground(points: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Point prompts (N, 1, 2), for each image."""
    return [np.asarray(row, np.float32).reshape(-1, 1, 2) for row in points]


@dataclass(frozen=True)
class _Frame:
    """(height, width) of an image as it came, with its padding, and as the encoder saw it."""

    original_hw: tuple[int, int]
    padded_hw: tuple[int, int]
    resized_hw: tuple[int, int]

    @property
    def scale(self) -> np.ndarray:
        """Pixels of the resized image for one of the padded image, float32 (x, y)."""
        height, width = self.padded_hw
        return np.array([self.resized_hw[1] / width, self.resized_hw[0] / height], np.float32)

    def upscaled(self, model: PromptedSegmenter[Any], logits_N1hw: torch.Tensor) -> torch.Tensor:
        """Logits (N, H, W) of the image as it came."""
        logits_NHW = model.upscale(logits_N1hw, self.padded_hw, self.resized_hw)[:, 0]
        return logits_NHW[:, : self.original_hw[0], : self.original_hw[1]]


def _decode(
    model: PromptedSegmenter[Any],
    embedding: Any,
    frame: _Frame,
    prompts_NP2: np.ndarray,
    *,
    is_box: bool,
) -> Segmentation:
    import torch

    height, width = frame.padded_hw

    def masks(prompts: Sequence[np.ndarray]) -> Iterable[tuple[np.ndarray, np.float32, np.float32]]:
        logits_N1hw, iou_N = _best(*model.decode(embedding, torch.from_numpy(np.stack(prompts) * frame.scale), is_box))
        return zip(*_finish(frame.upscaled(model, logits_N1hw), iou_N, model.config), strict=True)

    rows = model.prompts.run(masks, prompts_NP2, most=max(1, _PIXELS_PER_CHUNK // (height * width)))
    return Segmentation(*map(np.stack, zip(*rows, strict=True)))


def _best(logits_NMhw: torch.Tensor, iou_NM: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Of the masks for each prompt the one with the best predicted IoU: logits (N, 1, h, w) and IoU (N,)."""
    import torch

    iou_N, best_N = iou_NM.float().max(dim=1)
    rows = torch.arange(len(best_N), device=best_N.device)
    return logits_NMhw[rows, best_N][:, None].float(), iou_N


def _finish(
    logits_NHW: torch.Tensor, iou_N: torch.Tensor, config: MaskConfig
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Masks, predicted IoU clipped to [0, 1], and stability: IoU of the masks cut at logits +d and -d."""
    check_finite(iou_N, "the predicted IoUs")
    inner_N = (logits_NHW > config.stability_offset).sum((1, 2)).float()
    outer_N = (logits_NHW > -config.stability_offset).sum((1, 2)).float()
    stability_N = inner_N / outer_N.clamp(min=1)
    return (logits_NHW > 0).cpu().numpy(), iou_N.clamp(0, 1).cpu().numpy(), stability_N.cpu().numpy()


def _empty(image_HWC: np.ndarray) -> Segmentation:
    none = np.zeros(0, np.float32)
    return Segmentation(np.zeros((0, *image_HWC.shape[:2]), bool), none, none)
