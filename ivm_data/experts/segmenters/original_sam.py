"""Segment Anything (Kirillov et al., 2023, arXiv 2304.02643) as a segmenter, with the original code and files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ivm_data.experts.common.input_size import InputSize
from ivm_data.experts.common.native_weights import file_name, load_strictly
from ivm_data.experts.segmenters.prompted_masks import MaskConfig, PromptedSegmenter
from ivm_model.model.base_models import computing_in, to_device
from storage.common.extras import extra
from storage.errors import ConfigError

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class NativeSamConfig(MaskConfig):
    """Where the weights lie and what they are; and how prompts become masks.

    Attributes:
        path: a `.pth` file such as `sam_vit_h_4b8939.pth`.
        architecture: a name in `segment_anything.sam_model_registry`: `vit_h`, `vit_l`, `vit_b`, or one that you
            added to that dict, with a function that returns a `segment_anything.modeling.Sam`.
    """

    architecture: str = "vit_h"


class NativeSam(PromptedSegmenter[NativeSamConfig]):
    """Segmenter: boxes or foreground points -> masks, one image embedding for all prompts of an image."""

    def __init__(self, config: NativeSamConfig) -> None:
        super().__init__(config)
        self._resize: Any = None
        self._side = 0

    @property
    def name(self) -> str:
        """`file@revision`."""
        return file_name(self.config.path, self.config.revision)

    @property
    def input_size(self) -> InputSize:
        """The encoder's square, of a model of this architecture without weights."""
        import torch

        if not self._side:
            with torch.device("meta"):
                self._side = int(self._built().image_encoder.img_size)
        return InputSize(self._side, self._side)

    def _built(self) -> Any:
        with extra("original-experts"):
            from segment_anything import sam_model_registry

        name = self.config.architecture
        if name not in sam_model_registry:
            known = ", ".join(sorted(sam_model_registry))
            raise ConfigError(f"unknown SAM architecture {name!r}; choose one of {known}")
        # The registry's own `checkpoint=` reads a pickle without weights_only on older torch.
        return sam_model_registry[name]()

    def _read(self) -> Any:
        with extra("original-experts"):
            from segment_anything.utils.transforms import ResizeLongestSide

        config, model = self.config, self._built()
        load_strictly(model, config.path, config.architecture)
        self._resize = ResizeLongestSide(model.image_encoder.img_size)
        return model.to(config.device).eval()

    def preprocess(self, image_HWC: np.ndarray) -> tuple[torch.Tensor, tuple[int, int]]:
        """See `PromptedSegmenter`; uint8, which `encode` normalises and pads on the device."""
        import torch

        pixels_CHW = torch.from_numpy(self._resize.apply_image(image_HWC)).permute(2, 0, 1)
        return pixels_CHW, (pixels_CHW.shape[1], pixels_CHW.shape[2])

    def encode(self, pixels: Sequence[torch.Tensor]) -> Iterable[torch.Tensor]:
        """See `PromptedSegmenter`."""
        import torch

        model = self._model
        with torch.inference_mode(), computing_in(self.config.dtype, self.config.device):
            pixels_BCHW = torch.stack([model.preprocess(to_device(image, model.device)) for image in pixels])
            embedded: Iterable[torch.Tensor] = model.image_encoder(pixels_BCHW).float().split(1)
            return embedded

    def decode(
        self, embedding: torch.Tensor, prompts_NP2: torch.Tensor, is_box: bool
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """See `PromptedSegmenter`."""
        import torch

        prompts_NP2 = prompts_NP2.to(self._model.device)
        if is_box:
            return self._decoded(embedding, None, prompts_NP2.flatten(1), several=False)
        label_N1 = torch.ones(len(prompts_NP2), 1, dtype=torch.int, device=prompts_NP2.device)
        return self._decoded(embedding, (prompts_NP2, label_N1), None, several=True)

    def decode_joined(
        self, embedding: torch.Tensor, points_P2: torch.Tensor, wanted_P: torch.Tensor, corners_22: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """See `PromptedSegmenter`."""
        device = self._model.device
        points = points_P2.to(device)[None], wanted_P.to(device)[None]
        box = None if corners_22 is None else corners_22.to(device).reshape(1, 4)
        return self._decoded(embedding, points, box, several=False)

    @property
    def _ambiguous_masks(self) -> int:
        return int(self._model.mask_decoder.num_multimask_outputs)

    def _decoded(
        self,
        embedding: torch.Tensor,
        points: tuple[torch.Tensor, torch.Tensor] | None,
        boxes_N4: torch.Tensor | None,
        *,
        several: bool,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        import torch

        model = self._model
        with torch.inference_mode():
            sparse, dense = model.prompt_encoder(points=points, boxes=boxes_N4, masks=None)
            decoded: tuple[torch.Tensor, torch.Tensor] = model.mask_decoder(
                image_embeddings=embedding,
                image_pe=model.prompt_encoder.get_dense_pe(),
                sparse_prompt_embeddings=sparse,
                dense_prompt_embeddings=dense,
                multimask_output=several,
            )
        return decoded

    def upscale(
        self, logits_N1hw: torch.Tensor, original_hw: tuple[int, int], resized_hw: tuple[int, int]
    ) -> torch.Tensor:
        """See `PromptedSegmenter`."""
        logits_N1HW: torch.Tensor = self._model.postprocess_masks(logits_N1hw, resized_hw, original_hw)
        return logits_N1HW
