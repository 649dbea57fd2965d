"""The base models of IVM's release, checked by their configurations before any of their weights are read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from ivm_model.model import paper
from ivm_model.model.base_models import check_directory, load_part
from ivm_model.model.decoder import PromptedDecoder
from ivm_model.model.lmm import add_lora
from ivm_model.model.masking_model import GENERATOR, ModelConfig
from storage.errors import WeightsError

_RELEASES = {"sam": paper.SAM, "lmm": paper.LMM}
_TYPES = {"sam": "sam", "lmm": "llava"}
_PUBLISHED_WIDTH = 4096
"""Of LLaVA-1.5-7B. Files of that width are the release itself, whose SAM is ViT-H; its tensors would fit any SAM."""
_VIT_H_WIDTH = 1280


def kept_shapes(config: ModelConfig) -> dict[str, torch.Size]:
    """Names and shapes of what `MaskingModel(config)` keeps in a checkpoint; no weight is read or made.

    Raises:
        WeightsError: a base model's configuration is not there, or of another kind than the release's.
    """
    sam_config, lmm_config = _read("sam", config.sam), _read("lmm", config.lmm)
    if lmm_config.get_text_config().hidden_size == _PUBLISHED_WIDTH:
        _check_vit_h(config.sam, sam_config.vision_config.hidden_size)
    with torch.device("meta"):
        from transformers import AutoModelForImageTextToText, SamModel

        lmm = AutoModelForImageTextToText.from_config(lmm_config)
        decoder = PromptedDecoder(SamModel(sam_config), lmm_config.get_text_config().hidden_size, config.decoder)
        add_lora(lmm, config.lora, GENERATOR)
    lora = {f"lmm.model.{name}": value.shape for name, value in lmm.named_parameters() if ".lora_" in name}
    return {**lora, **{f"decoder.{name}": value.shape for name, value in decoder.named_parameters()}}


def check_weights_are_there(path: str) -> None:
    """Refuse a directory whose weight files are not all there; a hub id is checked by what downloads it.

    Raises:
        WeightsError: with the first file that is missing.
    """
    folder = Path(path)
    if not folder.is_dir():
        return
    indices = [json.loads(index.read_text(encoding="utf-8")) for index in folder.glob("*.safetensors.index.json")]
    named = {file for index in indices for file in index["weight_map"].values()}
    lacking = sorted(file for file in named if not (folder / file).exists())
    if lacking or not any(folder.glob("*.safetensors")):
        first = lacking[0] if lacking else "model.safetensors"
        raise WeightsError(f"base model {path!r} lacks its weights, first '{first}'; copy or download it whole")


def _read(role: str, path: str) -> Any:
    from transformers import AutoConfig

    try:
        check_directory(path, (_TYPES[role],))
        config = load_part(AutoConfig, path)
    except WeightsError as error:
        raise WeightsError(
            f"the release's weights need their base model '{role}': {error}; get it with 'hf download "
            f"{_RELEASES[role]}' and give its directory with '--set {role}=DIR'"
        ) from error
    if config.model_type != _TYPES[role]:
        raise WeightsError(
            f"base model '{role}' {path!r} is a {config.model_type!r} model; the release's is {_RELEASES[role]}, "
            f"give it with '--set {role}=DIR'"
        )
    return config


def _check_vit_h(path: str, width: int) -> None:
    if width != _VIT_H_WIDTH:
        raise WeightsError(
            f"the SAM in {path!r} has an encoder of width {width}, the release was trained on ViT-H of width "
            f"{_VIT_H_WIDTH}; give {paper.SAM} with '--set sam=DIR'"
        )
