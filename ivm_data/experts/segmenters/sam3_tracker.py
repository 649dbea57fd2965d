"""SAM 3's tracker (Meta, 2025, arXiv 2511.16719) as a segmenter of single images: boxes or points -> masks."""

from __future__ import annotations

from typing import Any

from ivm_data.experts.segmenters.sam2 import Sam2


class Sam3Tracker(Sam2):
    """Segmenter, prompted as SAM 2 is, over SAM 3's image encoder; SAM 3's words are the expert `sam3`."""

    def _read(self) -> Any:
        from transformers import Sam3ImageProcessor, Sam3TrackerModel

        # The released checkpoint calls itself "sam3_video" and holds the detector too, which is not read.
        also = ("sam3_video", "sam3_tracker_video")
        return self._from_pretrained(Sam3TrackerModel, Sam3ImageProcessor, tokenizer=False, also=also)
