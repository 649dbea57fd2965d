"""EdgeTAM (Zhou et al., 2025, arXiv 2501.07256) as a tracker: SAM 2's memory, small enough for a phone."""

from __future__ import annotations

from typing import Any

from ivm_data.experts.trackers.sam2_video import Sam2Video
from storage.common.extras import extra


class EdgeTamVideo(Sam2Video):
    """Tracker, prompted as SAM 2 is, over a RepViT of timm."""

    def _read(self) -> Any:
        with extra("original-experts"):
            import timm  # noqa: F401 - transformers builds the image encoder of it
        from transformers import EdgeTamVideoModel, Sam2VideoProcessor

        return self._from_pretrained(EdgeTamVideoModel, Sam2VideoProcessor, tokenizer=False)
