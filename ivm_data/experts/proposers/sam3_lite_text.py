"""SAM 3 with a small text encoder (MobileCLIP's), transformers' `sam3_lite_text`; asked and answering as SAM 3."""

from __future__ import annotations

from typing import Any

from ivm_data.experts.proposers.sam3 import Sam3


class Sam3LiteText(Sam3):
    """MaskProposer and Grounder."""

    def _read(self) -> Any:
        from transformers import Sam3ImageProcessor, Sam3LiteTextModel

        return self._from_pretrained(Sam3LiteTextModel, Sam3ImageProcessor, dtype=self.config.dtype)
