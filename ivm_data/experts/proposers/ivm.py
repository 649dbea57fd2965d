"""Our own trained masking model as an expert of the next round: the data engine feeds itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from ivm_data.experts.common.checkpoint_expert import CheckpointExpert
from ivm_data.experts.common.image_groups import batches_by_image
from ivm_data.experts.common.input_size import InputSize, checkpoint_input
from ivm_data.experts.common.padding import padded_image
from ivm_data.experts.common.protocols import check_lengths
from ivm_data.experts.lmms.request_line import format_line
from ivm_data.experts.proposers.mask_proposals import from_heatmap, not_found
from ivm_data.experts.segmenters.prompted_masks import MAX_ASPECT
from ivm_model.model.checkpoint import model_config
from ivm_model.model.masking_model import Encoded
from ivm_model.predictor import Predictor, is_released_file
from storage.common.validation import Checked, Count, within
from storage.errors import WeightsError
from storage.request import Request


@dataclass(frozen=True)
class IvmConfig(Checked):
    """Where the checkpoint lies and what counts as found.

    Attributes:
        path: directory that `train_dwsl` or `ivm convert` wrote.
        sam, lmm: where its base models lie now; "" means where they lay at training.
        threshold: least probability of a mask's pixels, in (0, 1).
        device: torch device.
        images_per_batch: images that pass through the frozen encoders together.
        prompts_per_batch: instructions that pass through the LMM together.
        revision: what the lineage says of the checkpoint; "" means its content hash.
    """

    path: str
    sam: str = ""
    lmm: str = ""
    threshold: Annotated[float, within("(0, 1)")] = 0.5
    device: str = "cpu"
    images_per_batch: Count = 8
    prompts_per_batch: Count = 16
    revision: str = ""


class Ivm(CheckpointExpert[IvmConfig]):
    """MaskProposer: the model's heatmap for the instruction, one image encoding for all of an image's requests."""

    def __init__(self, config: IvmConfig) -> None:
        super().__init__(config)

    @staticmethod
    def base_models(config: IvmConfig) -> dict[str, str]:
        """Where the models that the checkpoint lies on are, by option; none where it cannot be read."""
        try:
            made = model_config(Path(config.path), config.sam, config.lmm)
        except WeightsError:
            return {}
        return {"sam": made.sam, "lmm": made.lmm}

    @property
    def input_size(self) -> InputSize:
        """What its SAM sees."""
        return checkpoint_input(model_config(Path(self.config.path), self.config.sam, self.config.lmm).sam)

    def _read(self) -> Any:
        config = self.config
        if is_released_file(config.path):
            raise WeightsError(
                f"'{config.path}' is a file; this expert is named by a checkpoint's folder, so make one with "
                "'ivm convert FILE --out DIR' and give that as 'path'"
            )
        return Predictor.from_pretrained(Path(config.path), config.sam, config.lmm).model.to(config.device)

    def propose(self, images: Sequence[np.ndarray], requests: Sequence[Request]) -> list[tuple[np.ndarray, float]]:
        """The pixels that reach the threshold; the score is their mean probability."""
        check_lengths(images, requests, "request")
        self.load()
        results = [not_found(image) for image in images]
        asked = [i for i, request in enumerate(requests) if request.phrases]
        for groups in batches_by_image(images, asked, self.config.images_per_batch):
            encoded = self._model.encode([padded_image(images[rows[0]], MAX_ASPECT) for rows in groups])
            questions = [(k, _words(requests[i])) for k, rows in enumerate(groups) for i in rows]
            asking = [i for rows in groups for i in rows]
            for i, heatmap_HW in zip(asking, self._decode(encoded, questions), strict=True):
                height, width = images[i].shape[:2]
                results[i] = from_heatmap(heatmap_HW[:height, :width], self.config.threshold)
        return results

    def _decode(self, encoded: Encoded, questions: Sequence[tuple[int, str]]) -> Iterator[np.ndarray]:
        """Heatmap of each pair of an encoded image's index and an instruction."""
        for start in range(0, len(questions), self.config.prompts_per_batch):
            rows, texts = zip(*questions[start : start + self.config.prompts_per_batch], strict=True)
            yield from self._model.decode(_rows(encoded, list(rows)), texts)


def _words(request: Request) -> str:
    """What a person asked: a rewriter that misreads it does not mislead this expert."""
    return request.instruction or format_line(request)


def _rows(encoded: Encoded, rows: list[int]) -> Encoded:
    """The encodings of these images, repeated where a row comes twice."""
    return Encoded(encoded.sam_BCHW[rows], encoded.vision_BTC[rows], tuple(encoded.placements[row] for row in rows))
