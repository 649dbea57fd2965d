"""SAM 2 (Ravi et al., 2024, arXiv 2408.00714) as a tracker, with its memory of the frames that it saw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ivm_data.experts.common.checkpoint_expert import CheckpointExpert
from ivm_model.model.base_models import computing_in
from storage.common.validation import Checked


@dataclass(frozen=True)
class VideoTrackerConfig(Checked):
    """Which checkpoint.

    Attributes:
        path: checkpoint directory or hub id, such as `facebook/sam2.1-hiera-large`.
        revision: hub revision; "" means the directory's content hash, or "main".
        device: Torch device; "auto" for the GPU where there is one.
        dtype: in which it computes; "auto" is bfloat16 on a GPU.
    """

    path: str
    revision: str = ""
    device: str = "auto"
    dtype: str = "auto"


class Sam2Video(CheckpointExpert[VideoTrackerConfig]):
    """Tracker: the mask is the prompt of the first frame; a thing that was hidden may come back."""

    def __init__(self, config: VideoTrackerConfig) -> None:
        super().__init__(config)

    def _read(self) -> Any:
        from transformers import Sam2VideoModel, Sam2VideoProcessor

        return self._from_pretrained(Sam2VideoModel, Sam2VideoProcessor, tokenizer=False)

    def carry(self, images: Sequence[np.ndarray], mask_HW: np.ndarray) -> list[np.ndarray]:
        """See `Tracker`. An empty mask has nothing to follow, and stays empty."""
        import torch

        masks = [mask_HW.astype(bool)]
        if not mask_HW.any():
            return masks + [np.zeros_like(masks[0]) for _ in images[1:]]
        size, config = mask_HW.shape, self.config
        session = self._processor.init_video_session(inference_device=config.device, dtype=torch.float32)
        with torch.inference_mode(), computing_in(config.dtype, config.device):
            for number, image_HWC in enumerate(images):
                inputs = self._processor(images=image_HWC, return_tensors="pt").to(config.device)
                if number == 0:
                    self._processor.add_inputs_to_inference_session(
                        session, frame_idx=0, obj_ids=1, input_masks=masks[0], original_size=size
                    )
                out = self._model(inference_session=session, frame=inputs["pixel_values"][0])
                if number:
                    (logits_11HW,) = self._processor.post_process_masks(
                        [out.pred_masks.float()], original_sizes=[list(size)], binarize=False
                    )
                    masks.append((logits_11HW[0, 0] > 0).cpu().numpy())
        return masks
