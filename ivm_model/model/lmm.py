"""The LMM that reads image and instruction: frozen weights, one LoRA for each role that shares them."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import torch
from torch import nn

from ivm_model.model.base_models import check_directory, load_model, load_part
from ivm_model.model.inputs import AS_TRAINED, InputConfig
from ivm_model.model.lmm_images import images_of
from ivm_model.model.placement import AUTO, device_of, dtype_of
from storage.common.validation import FILLED, Checked, Count, within
from storage.errors import WeightsError


@dataclass(frozen=True)
class Reading:
    """What the LMM made of a batch of prompts.

    Attributes:
        hidden_BLC: states of the last layer.
        is_text_BL: bool, True for tokens after the image; padding is on the right.
        last_B: index of each prompt's last token.
        words_BLC: input embeddings of the tokens.
    """

    hidden_BLC: torch.Tensor
    is_text_BL: torch.Tensor
    last_B: torch.Tensor
    words_BLC: torch.Tensor

    @property
    def last(self) -> torch.Tensor:
        """State of each prompt's last token, BC."""
        return self.at(0)

    def at(self, back: int) -> torch.Tensor:
        """State of the token that lies `back` tokens before each prompt's last, BC."""
        return self.hidden_BLC[torch.arange(len(self.last_B), device=self.last_B.device), self.last_B - back]


@dataclass(frozen=True)
class LoraSettings(Checked):
    """Low-rank adapters on the language model, values of IVM (arXiv 2405.19783).

    Attributes:
        rank: r of the adapters.
        alpha: their scale is alpha / rank.
        dropout: on the adapters' input.
        layers: which projections of the language model are adapted.
    """

    rank: Count = 8
    alpha: Count = 16
    dropout: Annotated[float, within("[0, 1)")] = 0.05
    layers: Annotated[tuple[str, ...], FILLED] = ("q_proj", "v_proj")


class Lmm(nn.Module):
    """Vision features once for each image (frozen), then hidden states under a chosen LoRA.

    Args:
        path: directory or hub id of a LLaVA, Qwen2.5-VL or Qwen3-VL with its processor.

    Raises:
        WeightsError: it cannot be read, or is of another family.
        ConfigError: an option of `inputs` does not go with it.
    """

    def __init__(self, path: str, lora: LoraSettings = LoraSettings(), inputs: InputConfig = AS_TRAINED) -> None:
        super().__init__()
        from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor

        check_directory(path, ())
        self.images = images_of(load_part(AutoConfig, path), path, inputs)
        dtype = dtype_of(inputs.dtype, device_of(AUTO))
        self.model = load_model(AutoModelForImageTextToText, path, dtype=dtype)[0].requires_grad_(False)
        self.processor = load_part(AutoProcessor, path)
        if self.processor.chat_template is None and not inputs.prompt:
            raise WeightsError(f"the processor in {path!r} has no chat template; save one with it, or set a prompt")
        self.lora, self.prompt = lora, inputs.prompt
        self._active: str | None = None

    @property
    def hidden_size(self) -> int:
        """Channels of the language model's hidden states."""
        return int(self.model.config.get_text_config().hidden_size)

    def train(self, mode: bool = True) -> Lmm:
        """Switch LoRA dropout and gradient checkpointing; frozen layers, whose batch norms would move, never train."""
        super().train(False)
        for name, module in self.named_modules():
            # A layer recomputes its activations only while it thinks that it trains.
            if ".lora_dropout." in name or getattr(module, "gradient_checkpointing", False):
                module.training = mode
        return self

    def add_role(self, name: str) -> None:
        """Add a fresh LoRA; its output is zero until it is trained."""
        add_lora(self.model, self.lora, name)
        self._active = None

    def drop_role(self, name: str) -> None:
        """Forget a LoRA."""
        self._activate(next((role for role in self.model.peft_config if role != name), None))
        self.model.delete_adapter(name)

    def role_parameters(self, name: str) -> dict[str, nn.Parameter]:
        """The LoRA tensors of a role, by name within the model."""
        return {key: value for key, value in self.model.named_parameters() if f".{name}.weight" in key}

    @torch.no_grad()
    def see(self, images: Sequence[np.ndarray]) -> torch.Tensor:
        """Vision features in the language model's space, vision_BTC; the same under every LoRA.

        Args:
            images: HWC uint8 RGB of any sizes. They are padded to a square on the right and at the bottom, as SAM pads
                them, so that both models share one frame and a processor that crops its middle loses nothing.

        Returns:
            `hidden_size` channels, of Qwen3-VL more: see `patches`.
        """
        return self.images.see(self.model, self.processor, images).float()

    def patches(self, vision_BTC: torch.Tensor) -> torch.Tensor:
        """Of what `see` gives, what stands where words are embedded: `hidden_size` channels."""
        return vision_BTC[..., : self.hidden_size]

    def read(self, texts: Sequence[str], vision_BTC: torch.Tensor, role: str | None) -> Reading:
        """Last hidden states of prompts over their images.

        Args:
            texts: what the user says beside the image; the model's own chat template makes the prompt of it.
            vision_BTC: from `see`.
            role: whose LoRA to read with; None for the frozen model.
        """
        token = self.processor.image_token
        prompts = [self._prompt(text).replace(token, token * vision_BTC.shape[1]) for text in texts]
        tokens = self.processor.tokenizer(
            prompts,
            padding=True,
            padding_side="right",
            add_special_tokens=not _starts_with_bos(prompts[0], self.processor.tokenizer),
            return_tensors="pt",
        ).to(self.model.device)
        is_image_BL = tokens["input_ids"] == self.processor.image_token_id
        self._activate(role)
        out = self.model.model(
            input_ids=tokens["input_ids"],
            attention_mask=tokens["attention_mask"],
            use_cache=False,
            **self.images.given(vision_BTC.to(self.model.dtype), is_image_BL),
        )
        is_token_BL = tokens["attention_mask"].bool()
        return Reading(
            hidden_BLC=out.last_hidden_state.float(),
            is_text_BL=is_token_BL & (is_image_BL.flip(1).cumsum(1).flip(1) == 0),
            last_B=is_token_BL.sum(1) - 1,
            words_BLC=self.model.get_input_embeddings()(tokens["input_ids"]).detach().float(),
        )

    def _prompt(self, text: str) -> str:
        token = self.processor.image_token
        text = text.replace(token, " ")  # an instruction that spells it out would stand for a second image
        if self.prompt:
            before, after = self.prompt.split("{text}")
            return before.replace("{image}", token) + text + after.replace("{image}", token)
        message = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": text}]}
        return str(self.processor.apply_chat_template([message], add_generation_prompt=True))

    def _activate(self, role: str | None) -> None:
        if role == self._active:
            return
        if role is None:
            self.model.disable_adapters()
        else:
            self.model.enable_adapters()
            self.model.set_adapter(role)
        self._active = role


def add_lora(model: Any, lora: LoraSettings, name: str) -> None:
    """Add a fresh LoRA in float32 to the language model of an LMM."""
    from peft import LoraConfig
    from peft.tuners.tuners_utils import cast_adapter_dtype

    layers = "|".join(lora.layers)
    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=rf".*language_model.*\.({layers})",
    )
    with warnings.catch_warnings():
        # That there is one already is what roles are for.
        warnings.filterwarnings("ignore", "Already found a `peft_config`", UserWarning)
        model.add_adapter(config, adapter_name=name)
    cast_adapter_dtype(model, adapter_name=name)


def _starts_with_bos(prompt: str, tokenizer: Any) -> bool:
    """A chat template may write the first token itself; where it does not, the tokenizer adds it."""
    return tokenizer.bos_token is not None and prompt.startswith(tokenizer.bos_token)
