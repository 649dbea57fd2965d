"""SAM 3's tracker (Meta, 2025, arXiv 2511.16719): a mask of one frame is carried to the next ones."""

from __future__ import annotations

from typing import Any

from ivm_data.experts.trackers.sam2_video import Sam2Video


class Sam3TrackerVideo(Sam2Video):
    """Tracker, prompted as SAM 2 is, over SAM 3's image encoder; SAM 3's words are the expert `sam3`."""

    def _read(self) -> Any:
        from transformers import Sam3TrackerVideoModel, Sam3TrackerVideoProcessor

        # The released checkpoint calls itself "sam3_video" and holds the detector too, which is not read.
        return self._from_pretrained(
            Sam3TrackerVideoModel, Sam3TrackerVideoProcessor, tokenizer=False, also=("sam3_video",)
        )
