"""Any transformers image-text-to-text checkpoint as rewriter, verifier and answerer, through its chat template."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np
from PIL import Image

from ivm_data.experts.common.batches import Batches
from ivm_data.experts.common.checkpoint_expert import CheckpointExpert
from ivm_data.experts.common.finite import check_finite
from ivm_data.experts.common.frame import Frame
from ivm_data.experts.common.input_size import InputSize
from ivm_data.experts.common.known_words import known_words
from ivm_data.experts.common.protocols import AnswerError, Reply, check_lengths
from ivm_data.experts.lmms import chat_messages
from ivm_data.experts.lmms.chat_messages import NO, YES
from ivm_data.experts.lmms.question import Question, questions_of, smaller
from ivm_data.experts.lmms.rewriting import REWRITE_TOKENS, rewrite_by
from ivm_data.experts.lmms.shared_prefix import by_image, last_logits
from ivm_data.experts.lmms.whole_image import MAX_PIXELS, MaxPixels, crop_of, whole_image
from ivm_model.model.base_models import Dtype
from storage.common.validation import Checked, Count
from storage.errors import ConfigError, WeightsError
from storage.request import Request


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
        max_pixels: of an image as the processor is given it; a larger one is shrunk in its own shape.
    """

    path: str
    revision: str = ""
    device: str = "cpu"
    dtype: Dtype = "float32"
    instructed: bool = False
    batch: Count = 32
    answer_tokens: Count = 32
    max_pixels: MaxPixels = MAX_PIXELS


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
        self._crop = crop_of(self._processor.image_processor)
        # Templates that can tell a model to think first are told not to: P(yes) is that of the first token.
        knows_thoughts = "enable_thinking" in str(self._processor.chat_template)
        self._template = {"enable_thinking": False} if knows_thoughts else {}
        turn = self._conversation("", None, "Q")
        prompt = self._processor.apply_chat_template(turn, add_generation_prompt=True, tokenize=False, **self._template)
        self._thinks = prompt.rstrip().endswith("<think>")
        self._yes_ids, self._no_ids = (_single_tokens(self._tokenizer, words, config.path) for words in (YES, NO))
        return model

    @property
    def input_size(self) -> InputSize:
        """What the checkpoint's processor resizes a picture to, within `max_pixels`."""
        return super().input_size.within(self.config.max_pixels)

    def together(self, verb: str, rows: Sequence[tuple[Any, ...]]) -> list[list[int]]:
        """Questions that pass through the model together (`KeptExpert`); a rewriter may ask about a call once more."""
        if verb not in ("p_yes", "reply"):
            return [list(range(len(rows)))]
        order = by_image([row[0] for row in rows]) if verb == "p_yes" else list(range(len(rows)))
        return [order[start : start + self.config.batch] for start in range(0, len(order), self.config.batch)]

    def rewrite(self, instructions: Sequence[str], images: Sequence[np.ndarray] | None = None) -> list[Request]:
        """See `Rewriter`; an instructed model is asked again where its answer cannot be read."""
        instructed = self.config.instructed

        def reply(shown: Sequence[np.ndarray] | None, questions: Sequence[str], task: str) -> list[Reply]:
            return self.reply(shown, questions, task, REWRITE_TOKENS if instructed else None)

        requests = rewrite_by(reply, instructions, images, instructed)
        known = (known_words(self._tokenizer, text) for text in instructions)
        return [replace(request, understood=share) for request, share in zip(requests, known, strict=True)]

    def p_yes(self, images: Sequence[np.ndarray], questions: Sequence[str]) -> np.ndarray:
        """P(yes) = e^yes / (e^yes + e^no), (N,) float32; e^yes sums over the spellings in `YES`.

        Questions about the same array are asked together, whatever their order, and share what they have in common.
        """
        check_lengths(images, questions, "question")
        self.load()
        self._check_first_token()
        order, asked = by_image(images), questions_of(images, questions, self.config.max_pixels)
        p_yes_N = np.empty(len(images), np.float32)
        p_yes_N[order] = list(self._batches.run(self._p_yes, [asked[i] for i in order], smaller=smaller))
        return p_yes_N

    def _check_first_token(self) -> None:
        """Refuse to read an answer off the first token of a model that thinks first."""
        if self._thinks:
            raise ConfigError(
                f"{self.name} thinks before it answers, so that its first token is no answer; take the 'Instruct' "
                "version of the model as verifier, or serve it behind an endpoint"
            )

    def _p_yes(self, asked: Sequence[Question]) -> np.ndarray:
        import torch

        inputs, _ = self._inputs(chat_messages.YES_NO, asked)
        with torch.inference_mode():
            logits_BV = last_logits(self._model, inputs, [id(question.image_HWC) for question in asked]).float()
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

    def reply(
        self,
        images: Sequence[np.ndarray] | None,
        questions: Sequence[str],
        task: str | None = None,
        tokens: int | None = None,
    ) -> list[Reply]:
        """See `Replier`."""
        self.load()
        length = tokens or self.config.answer_tokens

        def reply(asked: Sequence[Question]) -> list[Reply]:
            return self._replies(*self._inputs(task or chat_messages.ANSWER, asked), length)

        asked = questions_of(images, questions, self.config.max_pixels)
        return list(self._batches.run(reply, asked, smaller=smaller))

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
        self._check_first_token()
        questions_asked = questions_of(images, questions, self.config.max_pixels)
        asked = [
            replace(question, option=option)
            for question, some in zip(questions_asked, options, strict=True)
            for option in some
        ]
        chances = self._batches.run(self._likelihoods, asked, smaller=smaller)
        return [np.array(list(islice(chances, len(some))), np.float32) for some in options]

    def _likelihoods(self, asked: Sequence[Question]) -> list[float]:
        """Mean log-probability of each option's tokens."""
        import torch

        tokenizer = self._tokenizer
        answers = [tokenizer(one.option, padding=True, add_special_tokens=False)["input_ids"] for one in asked]
        inputs, _ = self._inputs(chat_messages.ANSWER, asked)
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
        return [reply.text for reply in self.reply(images, questions, task, tokens)]

    def _replies(self, inputs: Any, frames: Sequence[Frame | None], length: int) -> list[Reply]:
        """Greedily decoded; an answer of `length` tokens without an end is cut."""
        import torch

        with torch.inference_mode():
            ids_BT = self._model.generate(**inputs, max_new_tokens=length, do_sample=False)
        new_BT = ids_BT[:, inputs["input_ids"].shape[1] :]
        ends = self._model.generation_config.eos_token_id
        has_end_B = torch.isin(new_BT, torch.as_tensor([] if ends is None else ends, device=new_BT.device)).any(1)
        texts = self._tokenizer.batch_decode(new_BT, skip_special_tokens=True)
        return [
            Reply(text.strip(), new_BT.shape[1] >= length and not has_end, frame)
            for text, has_end, frame in zip(texts, has_end_B.tolist(), frames, strict=True)
        ]

    def _inputs(self, task: str, asked: Sequence[Question]) -> tuple[Any, list[Frame | None]]:
        """Left-padded model inputs that end where the answer begins, and where the images lie in what is seen."""
        shown: dict[tuple[int, int], tuple[np.ndarray, Frame]] = {}
        for one in asked:
            key = (id(one.image_HWC), one.max_pixels)
            if one.image_HWC is not None and key not in shown:
                shown[key] = whole_image(one.image_HWC, one.max_pixels, self._crop)
        views = [shown.get((id(one.image_HWC), one.max_pixels), (None, None)) for one in asked]
        inputs = self._processor.apply_chat_template(
            [self._conversation(task, view_HWC, one.text) for one, (view_HWC, _) in zip(asked, views, strict=True)],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",  # SmolVLM's processor reads it nowhere else.
            processor_kwargs={"return_tensors": "pt", "padding": True},
            **self._template,
        ).to(self._model.device, self._model.dtype)
        self._check_length(inputs["input_ids"].shape[1])
        return inputs, self._seen([frame for _, frame in views], inputs)

    def _seen(self, frames: Sequence[Frame | None], inputs: Any) -> list[Frame | None]:
        """Frames of the pictures as the processor resized them, where it says how: Qwen-VL and its kin."""
        grids, patch = inputs.get("image_grid_thw"), getattr(self._processor.image_processor, "patch_size", None)
        if grids is None or not isinstance(patch, int) or len(grids) != len(frames):
            return list(frames)
        return [
            frame and frame.resized(columns * patch, rows * patch)
            for frame, (_, rows, columns) in zip(frames, grids.tolist(), strict=True)
        ]

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
