"""EdgeTAM (Zhou et al., 2025, arXiv 2501.07256) as a segmenter of single images: SAM 2 small enough for a phone."""

from __future__ import annotations

from typing import Any

from ivm_data.experts.segmenters.sam2 import Sam2
from storage.common.extras import extra


class EdgeTam(Sam2):
    """Segmenter, prompted as SAM 2 is, over a RepViT of timm."""

    def _read(self) -> Any:
        with extra("original-experts"):
            import timm  # noqa: F401 - transformers builds the image encoder of it
        from transformers import EdgeTamModel, Sam2ImageProcessor

        # Released checkpoints call themselves "edgetam_video".
        return self._from_pretrained(EdgeTamModel, Sam2ImageProcessor, tokenizer=False, also=("edgetam_video",))
