"""MM-Grounding-DINO (Zhao et al., 2024, arXiv 2401.02361) as a grounder: Grounding DINO with other heads."""

from __future__ import annotations

from typing import Any

from ivm_data.experts.grounders.grounding_dino import GroundingDino


class MmGroundingDino(GroundingDino):
    """Grounder: image and noun phrases -> boxes, each scored by the phrase's own tokens."""

    def _model_class(self) -> Any:
        from transformers import MMGroundingDinoForObjectDetection

        return MMGroundingDinoForObjectDetection
