"""What experts over a checkpoint have in common: read once, named by what was read, images and phrases made tensors."""

from __future__ import annotations

import logging
import sys
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import numpy as np

from ivm_data.experts.common.input_size import InputSize, checkpoint_input
from ivm_data.experts.common.known_words import known_words
from ivm_model.model.base_models import checkpoint_name, load_model, load_part
from ivm_model.model.placement import AUTO, device_of, dtype_of

if TYPE_CHECKING:
    import torch


class CheckpointConfig(Protocol):
    """What every config of such an expert says."""

    @property
    def path(self) -> str:
        """Checkpoint directory or hub id."""
        ...

    @property
    def revision(self) -> str:
        """Hub revision; "" means the directory's content hash, or "main"."""
        ...

    @property
    def device(self) -> str:
        """Torch device; "auto" for the GPU where there is one."""
        ...


Config = TypeVar("Config", bound=CheckpointConfig)
_LOG = logging.getLogger(__name__)


def placed(config: Config) -> Config:
    """The config with the device and the dtype that "auto" stands for on this machine.

    Only the config that runs: a recipe, its hash and the lineage keep the word "auto", so that a data set goes on where
    it was begun on another machine. The last digits of scores are the machine's.
    """
    held: Any = config
    named = {field.name for field in fields(held)}
    if AUTO not in (config.device, held.dtype if "dtype" in named else ""):
        return config
    device = device_of(config.device)
    chosen = {"device": device} | ({"dtype": dtype_of(held.dtype, device)} if "dtype" in named else {})
    _LOG.info("%s runs on %s", config.path, " in ".join(chosen.values()))
    found: Config = replace(held, **chosen)
    return found


class CheckpointExpert(ABC, Generic[Config]):
    """An expert over one checkpoint; a subclass says in `_read` what it consists of.

    Attributes:
        config: where the checkpoint lies, and whatever else decides the expert's answers; once loaded, without "auto".
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self._model: Any = None
        self._processor: Any = None
        self._tokenizer: Any = None

    @property
    def name(self) -> str:
        """`model@revision`."""
        return checkpoint_name(self.config.path, self.config.revision)

    @property
    def input_size(self) -> InputSize:
        """What the checkpoint's own processor resizes every picture to; nothing is loaded.

        Raises:
            WeightsError, ConfigError: see `checkpoint_input`.
        """
        return checkpoint_input(self.config.path, self.config.revision)

    def load(self) -> None:
        """Read the weights; does nothing the second time."""
        if self._model is None:
            self.config = placed(self.config)
            self._model = self._read()

    def known_words(self, phrase: str) -> float:
        """Share of the phrase's words that the checkpoint's tokenizer knows, in [0, 1]."""
        return known_words(self._tokenizer, phrase)

    @abstractmethod
    def _read(self) -> Any:
        """The model, ready to be asked; what else its verb needs is set on the way."""

    def _from_pretrained(
        self,
        model_class: Any,
        processor_class: Any,
        *,
        dtype: str = "float32",
        tokenizer: bool = True,
        also: tuple[str, ...] = (),
    ) -> Any:
        """The checkpoint's model, as `load_model` gives it; its processor and tokenizer are set.

        Args:
            dtype: of the weights.
            tokenizer: whether there is one.
            also: further model types that the class reads.
        """
        from transformers import AutoTokenizer

        config = self.config
        model, source = load_model(model_class, config.path, config.revision, config.device, dtype, also=also)
        self._processor = load_part(processor_class, config.path, source)
        self._tokenizer = load_part(AutoTokenizer, config.path, source) if tokenizer else None
        return model

    def _pixels(self, image_HWC: np.ndarray) -> torch.Tensor:
        """An image as the checkpoint's own processor resizes and normalises it, (3, h, w) float32 on the CPU."""
        pixels_CHW: torch.Tensor = self._processed(image_HWC)["pixel_values"][0]
        return pixels_CHW

    def _processed(self, image_HWC: np.ndarray, **options: Any) -> Any:
        return self._processor(images=image_HWC, return_tensors="pt", input_data_format="channels_last", **options)

    def _tokens(self, texts: Sequence[str], padding: bool | str = True, max_length: int = sys.maxsize) -> Any:
        """Token ids and mask (N, T) of texts, each cut where the checkpoint's text encoder ends, on its device.

        Args:
            max_length: where the model is used with less than its text encoder could read.
        """
        return self._tokenizer(
            list(texts),
            padding=padding,
            truncation=True,
            max_length=min(max_length, self._model.config.text_config.max_position_embeddings),
            return_tensors="pt",
        ).to(self._model.device)
