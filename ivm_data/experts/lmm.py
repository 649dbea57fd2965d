"""Any transformers image-text-to-text checkpoint as rewriter, verifier and answerer, through its chat template."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from PIL import Image

from ivm_data.experts import chat_messages, prompts
from ivm_data.experts.chat_messages import NO, YES
from ivm_data.experts.rewrite_grammar import parse_rewrite
from ivm_model.base_models import checkpoint_name, load_model, load_part
from storage.errors import ConfigError, WeightsError
from storage.records import Rewrite


@dataclass(frozen=True)
class LmmConfig:
    """Where the checkpoint lies and how it runs.

    Attributes:
        path: checkpoint directory or hub id, with processor files and a chat template.
        revision: hub revision; "" means the directory's content hash, or "main".
        device: torch device.
        dtype: torch dtype of the weights.
        instructed: tell the model its task and the form of its answer, and give it the text as quoted data; False is
            for a model that was trained on the prompts' very words, as the embedded one.
        batch: questions that run together.
        answer_tokens: length at which a generated answer is cut.
    """

    path: str
    revision: str = ""
    device: str = "cpu"
    dtype: str = "float32"
    instructed: bool = False
    batch: int = 32
    answer_tokens: int = 32

    def __post_init__(self) -> None:
        for name in ("batch", "answer_tokens"):
            if getattr(self, name) < 1:
                raise ConfigError(f"'{name}' must be at least 1, got {getattr(self, name)}")


class HfLmm:
    """Rewriter, Verifier and Answerer over one model."""

    def __init__(self, config: LmmConfig) -> None:
        self.config = config
        self._model: Any = None
        self._processor: Any = None

    @property
    def name(self) -> str:
        """`model@revision`."""
        return checkpoint_name(self.config.path, self.config.revision)

    def load(self) -> None:
        """Read the weights; does nothing the second time."""
        if self._model is not None:
            return
        from transformers import AutoProcessor

        config = self.config
        model_class = _model_class(config.path, config.revision)
        model, source = load_model(model_class, config.path, config.revision, config.device, config.dtype)
        processor = load_part(AutoProcessor, config.path, source)
        if getattr(processor, "chat_template", None) is None:
            raise WeightsError(f"{config.path!r} has no chat template; add chat_template.jinja beside the processor")
        processor.tokenizer.padding_side = "left"
        self._yes_ids, self._no_ids = (_single_tokens(processor.tokenizer, words, config.path) for words in (YES, NO))
        self._processor, self._model = processor, model

    def rewrite(self, instructions: Sequence[str]) -> list[Rewrite]:
        """Ask in words alone, without an image; read the answer strictly."""
        asked = [prompts.REWRITE.format(instruction=text) for text in instructions]
        answers = self._generate(chat_messages.REWRITE, None, asked)
        return [
            replace(parse_rewrite(answer), understood=self._understood(text))
            for text, answer in zip(instructions, answers, strict=True)
        ]

    def p_yes(self, images: Sequence[np.ndarray], questions: Sequence[str]) -> np.ndarray:
        """P(yes) = e^yes / (e^yes + e^no), (N,) float32; e^yes sums over the spellings in `YES`."""
        import torch

        self.load()
        chances = [np.zeros(0, np.float32)]
        for inputs in self._batches(chat_messages.YES_NO, images, questions):
            with torch.inference_mode():
                logits_BV = self._model(**inputs, logits_to_keep=1).logits[:, -1].float()
            yes_B, no_B = (logits_BV[:, ids].logsumexp(-1) for ids in (self._yes_ids, self._no_ids))
            chances.append(torch.sigmoid(yes_B - no_B).cpu().numpy())
        return np.concatenate(chances)

    def answer(self, images: Sequence[np.ndarray], questions: Sequence[str]) -> list[str]:
        """One short answer for each question, greedily decoded."""
        return self._generate(chat_messages.ANSWER, images, questions)

    def _generate(self, task: str, images: Sequence[np.ndarray] | None, questions: Sequence[str]) -> list[str]:
        import torch

        self.load()
        answers: list[str] = []
        for inputs in self._batches(task, images, questions):
            with torch.inference_mode():
                ids_BT = self._model.generate(**inputs, max_new_tokens=self.config.answer_tokens, do_sample=False)
            new_BT = ids_BT[:, inputs["input_ids"].shape[1] :]
            answers += self._processor.tokenizer.batch_decode(new_BT, skip_special_tokens=True)
        return [answer.strip() for answer in answers]

    def _batches(self, task: str, images: Sequence[np.ndarray] | None, questions: Sequence[str]) -> Iterator[Any]:
        """Left-padded model inputs for at most `batch` questions at a time."""
        if images is not None and len(images) != len(questions):
            raise ValueError(f"need one image for each question, got {len(images)} for {len(questions)} questions")
        for start in range(0, len(questions), self.config.batch):
            some = slice(start, start + self.config.batch)
            shown = [None] * len(questions[some]) if images is None else images[some]
            yield self._processor.apply_chat_template(
                [self._conversation(task, image, text) for image, text in zip(shown, questions[some], strict=True)],
                add_generation_prompt=True,
                tokenize=True,
                return_dict=True,
                processor_kwargs={"return_tensors": "pt", "padding": True},
            ).to(self._model.device, self._model.dtype)

    def _conversation(self, task: str, image_HWC: np.ndarray | None, text: str) -> list[dict[str, Any]]:
        """One user turn, since not every chat template has a system's.

        Special tokens in the text, which would stand for images or turns, are taken out.
        """
        for token in self._processor.tokenizer.all_special_tokens:
            text = text.replace(token, " ")
        if self.config.instructed:
            text = f"{task}\n{chat_messages.as_data(text)}"
        content: list[dict[str, Any]] = [{"type": "text", "text": text}]
        if image_HWC is not None:
            content.insert(0, {"type": "image", "image": Image.fromarray(image_HWC)})
        return [{"role": "user", "content": content}]

    def _understood(self, instruction: str) -> float:
        """Share of words that the tokenizer spells without its unknown token; 0 without words."""
        tokenizer = self._processor.tokenizer
        words = re.findall(r"\w+", instruction)
        known = [tokenizer.unk_token_id not in tokenizer.encode(word, add_special_tokens=False) for word in words]
        return sum(known) / len(known) if known else 0.0


def _model_class(path: str, revision: str) -> Any:
    """The class of an image-text-to-text checkpoint."""
    from transformers import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING, AutoConfig

    try:
        config = AutoConfig.from_pretrained(path, **({"revision": revision} if revision else {}))
    except (OSError, ValueError, KeyError) as error:
        raise WeightsError(
            f"no model config at {path!r}: {error}; give a checkpoint directory or a hub id like 'org/name'"
        ) from error
    if type(config) not in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING:
        raise WeightsError(
            f"{path!r} holds a {config.model_type!r} model; an LMM reads images and text, such as 'llava'"
        )
    return MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING[type(config)]


def _single_tokens(tokenizer: Any, spellings: Sequence[str], path: str) -> list[int]:
    """Ids of the spellings that are one token."""
    encoded = [tokenizer.encode(word, add_special_tokens=False) for word in spellings]
    ids = sorted({ids[0] for ids in encoded if len(ids) == 1 and ids[0] != tokenizer.unk_token_id})
    if not ids:
        raise WeightsError(f"the tokenizer of {path!r} has no single token for any of {spellings}; use another LMM")
    return ids
