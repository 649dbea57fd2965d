"""Any transformers image-text-to-text checkpoint as rewriter, verifier and answerer, through its chat template."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, TypeVar

import numpy as np
from PIL import Image

from ivm_data.experts.common.batches import Batches
from ivm_data.experts.common.checkpoint_expert import CheckpointExpert
from ivm_data.experts.common.finite import check_finite
from ivm_data.experts.common.protocols import AnswerError, check_lengths
from ivm_data.experts.lmms import chat_messages, prompts
from ivm_data.experts.lmms.chat_messages import NO, YES
from ivm_data.experts.lmms.rewrite_grammar import parse_rewrite
from ivm_data.experts.lmms.shared_prefix import by_image, last_logits
from ivm_model.model.base_models import Dtype
from storage.errors import WeightsError
from storage.records import Rewrite
from storage.validation import Checked, Count

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class LmmConfig(Checked):
    """Where the checkpoint lies and how it runs.

    Attributes:
        path: checkpoint directory or hub id, with processor files and a chat template.
        revision: hub revision; "" means the directory's content hash, or "main".
        device: torch device.
        dtype: torch dtype of the weights.
        instructed: state the task and the form of its answer, and give the text as quoted data; False is
            for a model that was trained on the prompts' very words, as the embedded one.
        batch: questions that run together.
        answer_tokens: length at which a generated answer is cut.
    """

    path: str
    revision: str = ""
    device: str = "cpu"
    dtype: Dtype = "float32"
    instructed: bool = False
    batch: Count = 32
    answer_tokens: Count = 32


class HfLmm(CheckpointExpert[LmmConfig]):
    """Rewriter, Verifier, Answerer and Chooser over one model."""

    def __init__(self, config: LmmConfig) -> None:
        super().__init__(config)
        self._batches = Batches(config.batch)

    def _read(self) -> Any:
        from transformers import AutoProcessor

        config = self.config
        model_class = _model_class(config.path, config.revision)
        model = self._from_pretrained(model_class, AutoProcessor, dtype=config.dtype, tokenizer=False)
        if getattr(self._processor, "chat_template", None) is None:
            raise WeightsError(f"{config.path!r} has no chat template; add chat_template.jinja beside the processor")
        self._tokenizer = self._processor.tokenizer
        self._tokenizer.padding_side = "left"
        self._yes_ids, self._no_ids = (_single_tokens(self._tokenizer, words, config.path) for words in (YES, NO))
        return model

    def rewrite(self, instructions: Sequence[str]) -> list[Rewrite]:
        """Ask in words alone, without an image; read the answer strictly."""
        asked = [prompts.REWRITE.format(instruction=text) for text in instructions]
        answers = self._generate(chat_messages.REWRITE, None, asked)
        return [
            replace(parse_rewrite(answer), understood=self._understood(text))
            for text, answer in zip(instructions, answers, strict=True)
        ]

    def p_yes(self, images: Sequence[np.ndarray], questions: Sequence[str]) -> np.ndarray:
        """P(yes) = e^yes / (e^yes + e^no), (N,) float32; e^yes sums over the spellings in `YES`.

        Questions about the same array are asked together, whatever their order, and share what they have in common.
        """
        check_lengths(images, questions, "question")
        self.load()
        order = by_image(images)
        p_yes_N = np.empty(len(images), np.float32)
        p_yes_N[order] = list(self._batches.run(self._p_yes, [(images[i], questions[i]) for i in order]))
        return p_yes_N

    def _p_yes(self, asked: Sequence[tuple[np.ndarray, str]]) -> np.ndarray:
        import torch

        inputs = self._inputs(chat_messages.YES_NO, asked)
        with torch.inference_mode():
            logits_BV = last_logits(self._model, inputs, [id(image_HWC) for image_HWC, _ in asked]).float()
        yes_B, no_B = (logits_BV[:, ids].logsumexp(-1) for ids in (self._yes_ids, self._no_ids))
        return torch.sigmoid(check_finite(yes_B - no_B, f"the logits of {self.name}")).cpu().numpy()

    def answer(
        self,
        images: Sequence[np.ndarray] | None,
        questions: Sequence[str],
        task: str | None = None,
        tokens: int | None = None,
    ) -> list[str]:
        """See `Answerer`."""
        return self._generate(task or chat_messages.ANSWER, images, questions, tokens)

    def choose(
        self, images: Sequence[np.ndarray], questions: Sequence[str], options: Sequence[Sequence[str]]
    ) -> list[np.ndarray]:
        """See `Chooser`: the mean log-probability of an option's tokens as the answer to the question alone.

        The mean, so that a long option is not the less likely for it, as V*Bench's own code takes it
        (arXiv 2312.14135, `vstar_bench_eval.py`).
        """
        check_lengths(images, questions, "question")
        check_lengths(images, options, "list of options")
        self.load()
        asked = [
            (image_HWC, question, option)
            for image_HWC, question, some in zip(images, questions, options, strict=True)
            for option in some
        ]
        chances = self._batches.run(self._likelihoods, asked)
        return [np.array(list(islice(chances, len(some))), np.float32) for some in options]

    def _likelihoods(self, asked: Sequence[tuple[np.ndarray, str, str]]) -> list[float]:
        """Mean log-probability of each answer's tokens."""
        import torch

        tokenizer = self._tokenizer
        answers = [tokenizer(option, padding=True, add_special_tokens=False)["input_ids"] for _, _, option in asked]
        inputs = self._inputs(chat_messages.ANSWER, [(image_HWC, question) for image_HWC, question, _ in asked])
        answer_BT = torch.nn.utils.rnn.pad_sequence([torch.tensor(ids) for ids in answers], True, -1)
        answer_BT = answer_BT.to(self._model.device)
        is_answer_BT = answer_BT >= 0
        length = answer_BT.shape[1]
        self._check_length(inputs["input_ids"].shape[1] + length)
        more = {"input_ids": answer_BT.clamp_min(0), "attention_mask": is_answer_BT.long()}
        shape = inputs["input_ids"].shape
        for name, value in inputs.items():
            if value.shape == shape:  # one value a token, as also `mm_token_type_ids`, where 0 is text
                extra_BT = more.get(name, torch.zeros_like(answer_BT))
                inputs[name] = torch.cat([value, extra_BT.to(value.dtype)], 1)
        with torch.inference_mode():
            logits_BTV = self._model(**inputs, logits_to_keep=length + 1).logits[:, :-1].float()
        chance_BT = logits_BTV.log_softmax(-1).gather(2, answer_BT.clamp_min(0)[..., None])[..., 0] * is_answer_BT
        mean_B = chance_BT.sum(1) / is_answer_BT.sum(1).clamp_min(1)
        means: list[float] = check_finite(mean_B, f"the log-probabilities of {self.name}").tolist()
        return means

    def _generate(
        self, task: str, images: Sequence[np.ndarray] | None, questions: Sequence[str], tokens: int | None = None
    ) -> list[str]:
        self.load()
        length = tokens or self.config.answer_tokens

        def answer(inputs: Any) -> list[str]:
            ids_BT = self._model.generate(**inputs, max_new_tokens=length, do_sample=False)
            new_BT = ids_BT[:, inputs["input_ids"].shape[1] :]
            texts: list[str] = self._tokenizer.batch_decode(new_BT, skip_special_tokens=True)
            return texts

        return [text.strip() for text in self._ask(answer, task, images, questions)]

    def _ask(
        self,
        read: Callable[[Any], Iterable[Answer]],
        task: str,
        images: Sequence[np.ndarray] | None,
        questions: Sequence[str],
    ) -> Iterator[Answer]:
        """What `read` makes of left-padded model inputs for at most `batch` questions at a time."""
        import torch

        if images is not None and len(images) != len(questions):
            raise ValueError(f"need one image for each question, got {len(images)} for {len(questions)} questions")

        def ask(asked: Sequence[tuple[np.ndarray | None, str]]) -> Iterable[Answer]:
            inputs = self._inputs(task, asked)
            with torch.inference_mode():
                return read(inputs)

        shown: Sequence[np.ndarray | None] = [None] * len(questions) if images is None else images
        return self._batches.run(ask, zip(shown, questions, strict=True))

    def _inputs(self, task: str, asked: Sequence[tuple[np.ndarray | None, str]]) -> Any:
        """Left-padded model inputs that end where the answer begins."""
        inputs = self._processor.apply_chat_template(
            [self._conversation(task, image_HWC, text) for image_HWC, text in asked],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            processor_kwargs={"return_tensors": "pt", "padding": True},
        ).to(self._model.device, self._model.dtype)
        self._check_length(inputs["input_ids"].shape[1])
        return inputs

    def _check_length(self, tokens: int) -> None:
        """Refuse a prompt that the model has no positions for: it would answer nonsense and not fail."""
        limit = getattr(self._model.config.get_text_config(), "max_position_embeddings", None)
        if limit is not None and tokens > limit:
            raise AnswerError(
                f"a question of {tokens} tokens, its image's among them, is too long for {self.name}, which reads "
                f"{limit}; shorten the instruction, or use an LMM with a longer context"
            )

    def _conversation(self, task: str, image_HWC: np.ndarray | None, text: str) -> list[dict[str, Any]]:
        """One user turn, since not every chat template has a system's.

        Special tokens in the text, which would stand for images or turns, are taken out.
        """
        for token in self._tokenizer.all_special_tokens:
            text = text.replace(token, " ")
        if self.config.instructed:
            text = f"{task}\n{chat_messages.as_data(text)}"
        content: list[dict[str, Any]] = [{"type": "text", "text": text}]
        if image_HWC is not None:
            content.insert(0, {"type": "image", "image": Image.fromarray(image_HWC)})
        return [{"role": "user", "content": content}]

    def _understood(self, instruction: str) -> float:
        """Share of words that the tokenizer spells without its unknown token; 0 without words."""
        tokenizer = self._tokenizer
        words = re.findall(r"\w+", instruction)
        # With padding, as `_ask`: a tokenizer keeps that as a state, which threads must not change for each other.
        spelled = [tokenizer([word], padding=True, add_special_tokens=False)["input_ids"][0] for word in words]
        known = [tokenizer.unk_token_id not in ids for ids in spelled]
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
