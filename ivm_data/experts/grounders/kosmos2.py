"""Kosmos-2 (Peng et al., 2023, arXiv 2306.14824) as a grounder, for any transformers checkpoint.

The prompt ends with the phrase, so that the object that the answer begins with is the phrase's own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from ivm_data.experts.grounders.generated_boxes import BoxWriter, GeneratedBoxesConfig, WrittenBox, location_ids

if TYPE_CHECKING:
    import torch

PROMPT = "<grounding><phrase> {words}</phrase>"
DELIMITER = "</delimiter_of_multi_objects/>"
PATCHES_PER_SIDE = 32
"""The image's grid; a token for each of its patches."""


class Kosmos2(BoxWriter):
    """Grounder: image and noun phrases -> boxes, scored as `generated_boxes` says.

    Prompts of a batch must be of one length, as `BoxWriter` groups them: the library counts the padding of a batch
    into the positions of generated tokens, which moves boxes.
    """

    def __init__(self, config: GeneratedBoxesConfig) -> None:
        super().__init__(config)
        self._patch: dict[int, int] = {}

    def _read(self) -> Any:
        from transformers import Kosmos2ForConditionalGeneration, Kosmos2Processor
        from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

        config = self.config
        model = self._from_pretrained(Kosmos2ForConditionalGeneration, CLIPImageProcessorPil, dtype=config.dtype)
        # The whole processor adds the tokens of grounding to a tokenizer that was saved without them.
        self._tokenizer = Kosmos2Processor(self._processor, self._tokenizer).tokenizer
        places = [f"<patch_index_{place:04d}>" for place in range(PATCHES_PER_SIDE**2)]
        self._patch = location_ids(self._tokenizer, places, model.config.text_config.vocab_size, config.path)
        self._ends = [self._tokenizer.eos_token_id, self._id("</object>")]
        self._positions = model.config.text_config.max_position_embeddings - config.answer_tokens - len(self._frame([]))
        return model

    def see(self, pixels_BCHW: torch.Tensor) -> torch.Tensor:
        """See `BoxWriter`; the steps that stand within the library's `generate`."""
        from torch.nn.functional import normalize

        vision = self._model.vision_model
        patch_BNC = vision.model.post_layernorm(vision(pixels_BCHW).last_hidden_state)
        image_BTC: torch.Tensor
        image_BTC, _ = self._model.image_to_text_projection(normalize(patch_BNC, dim=-1))
        return image_BTC

    def prompt(self, words: str) -> list[int]:
        """See `BoxWriter`."""
        ids: list[int] = self._tokenizer(PROMPT.format(words=words), add_special_tokens=False)["input_ids"]
        return ids

    def inputs(self, image_BTC: torch.Tensor, prompt_BL: torch.Tensor) -> tuple[Any, dict[str, Any]]:
        """See `BoxWriter`: the image's tokens stand in a frame before the prompt."""
        import torch

        rows, slots = image_BTC.shape[:2]
        # What stands in the image's slots is overwritten; the library's processor fills them with these ids.
        first = self._tokenizer.unk_token_id + 1
        frame = torch.tensor(self._frame(range(first, first + slots)), device=prompt_BL.device)
        ids_BS = torch.cat([frame.expand(rows, -1), prompt_BL], dim=1)
        is_image_BS = torch.zeros_like(ids_BS)
        is_image_BS[:, 2 : 2 + slots] = 1
        return self._model.text_model, {
            "input_ids": ids_BS,
            "attention_mask": torch.ones_like(ids_BS),
            "image_embeds": image_BTC,
            "image_embeds_position_mask": is_image_BS,
        }

    def read(self, ids: Sequence[int], words: str) -> Iterator[WrittenBox]:
        """See `BoxWriter`: one whole object right at the start, its boxes of two patches each between delimiters."""
        from transformers.models.kosmos2.processing_kosmos2 import patch_index_to_coordinate

        marks = [self._id("<object>"), *[self._id(DELIMITER)] * (len(ids) // 3 - 1), self._id("</object>")]
        if len(ids) % 3 != 1 or ids[::3] != marks:
            return
        for t in range(1, len(ids), 3):
            if ids[t] in self._patch and ids[t + 1] in self._patch:
                corners = patch_index_to_coordinate(self._patch[ids[t]], self._patch[ids[t + 1]], PATCHES_PER_SIDE)
                yield WrittenBox(corners, slice(t, t + 2))

    def _frame(self, image_ids: Iterable[int]) -> list[int]:
        return [self._tokenizer.bos_token_id, self._id("<image>"), *image_ids, self._id("</image>")]

    def _id(self, token: str) -> int:
        return int(self._tokenizer.convert_tokens_to_ids(token))
