"""Florence-2 (Xiao et al., 2023, arXiv 2311.06242) as a grounder, for any transformers checkpoint.

Its phrase grounding task is asked with the phrase as the whole caption: the answer holds boxes only, and names each by
words of the caption, which can be held against what was asked. Its open-vocabulary detection may answer polygons.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from ivm_data.experts.common.phrase_score import clean
from ivm_data.experts.grounders.generated_boxes import BoxWriter, GeneratedBoxesConfig, WrittenBox, location_ids

if TYPE_CHECKING:
    import torch

PROMPT = "Locate the phrases in the caption: {words}"
"""What the library's processor makes of <CAPTION_TO_PHRASE_GROUNDING>; given as text, since a phrase with the name of
another task in it would change the processor's mind."""
BINS = 1000
"""Locations along each side; a token means the middle of its bin."""


class Florence2(BoxWriter):
    """Grounder: image and noun phrases -> boxes, scored as `generated_boxes` says."""

    def __init__(self, config: GeneratedBoxesConfig) -> None:
        super().__init__(config)
        self._bin: dict[int, int] = {}

    def _read(self) -> Any:
        from transformers import Florence2ForConditionalGeneration
        from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

        config = self.config
        model = self._from_pretrained(Florence2ForConditionalGeneration, CLIPImageProcessorPil, dtype=config.dtype)
        places = [f"<loc_{place}>" for place in range(BINS)]
        self._bin = location_ids(self._tokenizer, places, model.config.text_config.vocab_size, config.path)
        self._ends = [self._tokenizer.eos_token_id]
        self._positions = model.config.text_config.max_position_embeddings
        return model

    def see(self, pixels_BCHW: torch.Tensor) -> torch.Tensor:
        """See `BoxWriter`."""
        image_BTC: torch.Tensor = self._model.get_image_features(pixels_BCHW).pooler_output
        return image_BTC

    def prompt(self, words: str) -> list[int]:
        """See `BoxWriter`."""
        ids = self._tokenizer(PROMPT.format(words=words), add_special_tokens=False)["input_ids"]
        return [self._tokenizer.bos_token_id, *ids, self._tokenizer.eos_token_id]

    def inputs(self, image_BTC: torch.Tensor, prompt_BL: torch.Tensor) -> tuple[Any, dict[str, Any]]:
        """See `BoxWriter`: the encoder reads the image's tokens, then the prompt's."""
        import torch

        model = self._model
        text_BLC = model.get_input_embeddings()(prompt_BL)
        both_BSC = torch.cat([image_BTC.to(text_BLC.dtype), text_BLC], dim=1)
        mask_BS = torch.ones(both_BSC.shape[:2], dtype=torch.long, device=both_BSC.device)
        encoded = model.get_encoder()(inputs_embeds=both_BSC, attention_mask=mask_BS)
        return model, {"encoder_outputs": encoded, "attention_mask": mask_BS}

    def read(self, ids: Sequence[int], words: str) -> Iterator[WrittenBox]:
        """See `BoxWriter`: a name, then its boxes of four locations each; a rest of fewer is none."""
        start, named = 0, False
        for is_place, run in groupby(ids, lambda token: token in self._bin):
            tokens = list(run)
            if is_place and named:
                for first in range(0, len(tokens) - 3, 4):
                    x0, y0, x1, y1 = ((self._bin[token] + 0.5) / BINS for token in tokens[first : first + 4])
                    yield WrittenBox((x0, y0, x1, y1), slice(start + first, start + first + 4))
            elif not is_place:
                named = self._name(tokens) == words
            start += len(tokens)

    def _name(self, tokens: Sequence[int]) -> str:
        """Words of the answer, with any special token but the one that starts it."""
        return clean(self._tokenizer.decode([t for t in tokens if t != self._tokenizer.bos_token_id]))
