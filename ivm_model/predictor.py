"""The trained model in use: image and instruction -> heatmap -> masked image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ivm_model.how import How
from ivm_model.masking import Masked, apply
from ivm_model.model import paper
from ivm_model.model.base_models import HUB_ID, first_line
from ivm_model.model.checkpoint import load_checkpoint
from ivm_model.model.masking_model import MaskingModel
from ivm_model.model.official import load_official
from ivm_model.model.placement import device_of, dtype_of
from ivm_model.model.words import spelled
from ivm_model.zoom import parts, zoomed
from storage.common.validation import Natural, check
from storage.errors import WeightsError

BATCH = 16
_SUFFIXES = (".bin", ".pth", ".pt")


class Predictor:
    """A masking model ready to answer.

    Attributes:
        zoom: of a picture larger than the model sees, how many parts are looked at anew after all were looked at once;
            0 for a look at the whole picture alone. See `ivm_model.zoom`.

    Raises:
        ConfigError: `zoom` is below 0.
    """

    def __init__(self, model: MaskingModel, zoom: int = 0) -> None:
        check(Natural, zoom, "'zoom'")
        self.model, self.zoom = model.eval(), zoom

    @classmethod
    def from_pretrained(
        cls, directory: Path | str, sam: str = "", lmm: str = "", device: str = "cpu", dtype: str = "", *, zoom: int = 0
    ) -> Predictor:
        """Read a checkpoint that `train_dwsl` wrote, or the file of IVM's release.

        Args:
            directory: its folder, or a hub id such as `org/name`; or the path of IVM-V1.0.bin.
            sam, lmm: where the base models lie now, if they moved since training; the release's hub ids for its file.
            device: torch device; "auto" for the GPU where there is one.
            dtype: of the LMM's frozen weights; "" means as at training, float32 for the release's file; "auto" means
                half precision on a GPU.
            zoom: see the class.

        Raises:
            WeightsError: the checkpoint or a base model cannot be used.
            ConfigError: `zoom` is below 0.
        """
        device = device_of(device)
        dtype = dtype_of(dtype, device)
        if is_released_file(directory):
            model = load_official(Path(directory), paper.released_config(sam, lmm, dtype))
        else:
            model = load_checkpoint(_folder(directory), sam, lmm, dtype)
        return cls(model.to(device), zoom)

    def unknown_words(self, instruction: str) -> list[str]:
        """The words that the model's LMM has no tokens for; none where it spells every text."""
        known = spelled(self.model.lmm.processor.tokenizer, instruction)
        return [word for word in known if not known[word]]

    def heatmaps(self, images: Sequence[np.ndarray], instructions: Sequence[str]) -> list[np.ndarray]:
        """Probability that each pixel is needed, HW float32 in [0, 1] for each HWC uint8 RGB image.

        Raises:
            ValueError: there is not one instruction for each image.
        """
        if len(images) != len(instructions):
            raise ValueError(f"need one instruction for each image, got {len(instructions)} for {len(images)} images")
        batches = range(0, len(images), BATCH)
        found = [self.model.heatmaps(images[i : i + BATCH], instructions[i : i + BATCH]) for i in batches]
        coarse = [heatmap_HW for part in found for heatmap_HW in part]
        if not self.zoom:
            return coarse
        return [self._zoomed(*one) for one in zip(images, instructions, coarse, strict=True)]

    def _zoomed(self, image_HWC: np.ndarray, instruction: str, coarse_HW: np.ndarray) -> np.ndarray:
        def see(some: Sequence[np.ndarray]) -> Sequence[np.ndarray]:
            return self.model.heatmaps(some, [instruction] * len(some))

        return zoomed(see, image_HWC, coarse_HW, self.model.side, looks=self.zoom, at_once=BATCH)

    def forwards(self, size: tuple[int, int]) -> int:
        """How often the model passes over a picture of (height, width) `size`."""
        count = len(parts(size, self.model.side)) if self.zoom else 0
        return 1 + count + min(self.zoom, count)

    def heatmap(self, image_HWC: np.ndarray, instruction: str) -> np.ndarray:
        """As `heatmaps`, for one image."""
        return self.heatmaps([image_HWC], [instruction])[0]

    def mask(self, image_HWC: np.ndarray, instruction: str, how: How = "overlay", threshold: float = 0.5) -> Masked:
        """The image with only what the instruction needs; the whole image, and `found` False, where that is nothing."""
        return self.masks([image_HWC], [instruction], how, threshold)[0]

    def masks(
        self, images: Sequence[np.ndarray], instructions: Sequence[str], how: How = "overlay", threshold: float = 0.5
    ) -> list[Masked]:
        """As `mask`, for several images, which pass through the model together."""
        heatmaps = self.heatmaps(images, instructions)
        return [apply(image, heatmap_HW, how, threshold) for image, heatmap_HW in zip(images, heatmaps, strict=True)]


def is_released_file(path: Path | str) -> bool:
    """Whether a path means a file of torch.save, not a checkpoint's folder or a hub id."""
    return not Path(path).is_dir() and (Path(path).is_file() or Path(path).suffix in _SUFFIXES)


def _folder(directory: Path | str) -> Path:
    """The folder itself, or the snapshot of a hub id, downloaded where it is not in the cache."""
    if Path(directory).is_dir() or not HUB_ID.fullmatch(str(directory)):
        return Path(directory)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(str(directory)))
    except (HfHubHTTPError, LocalEntryNotFoundError) as error:
        raise WeightsError(
            f"{str(directory)!r} is no folder, and the hub gives no such model: {first_line(error)}; "
            "give the folder that training wrote, or a hub id like 'org/name'"
        ) from error
