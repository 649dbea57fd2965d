"""The checkpoint of IVM's release (IVM-V1.0.bin of github.com/2toinf/IVM), read by a map of its tensors' names.

The file holds what the release trained: LoRA, projection and mask decoder. SAM and the LMM come from their own files.
"""

from __future__ import annotations

import pickle
import re
from dataclasses import replace
from pathlib import Path

import torch

from ivm_model.model import paper
from ivm_model.model.base_models import first_line
from ivm_model.model.masking_model import GENERATOR, MaskingModel, ModelConfig
from storage.errors import ConfigError, WeightsError

SHOWN = 4
"""Most names that an error lists."""
_LORA = re.compile(
    rf"lmm\.model\..*language_model\.layers\.(\d+)\.self_attn\.(\w+)\.lora_([AB])\.{re.escape(GENERATOR)}\.weight"
)
_PARTS = (
    ("decoder.project_last.0.", "prompt_encoder.text_proj.fc1."),
    ("decoder.project_last.2.", "prompt_encoder.text_proj.fc2."),
    ("decoder.decoder.transformer.layer_norm_final_attn.", "mask_decoder.transformer.norm_final_attn."),
    ("decoder.decoder.transformer.", "mask_decoder.transformer."),
    ("decoder.decoder.upscaling.", "mask_decoder.output_upscaling."),
    ("decoder.decoder.hypernetwork.proj_in.", "mask_decoder.output_hypernetworks_mlps.layers.0."),
    ("decoder.decoder.hypernetwork.layers.0.", "mask_decoder.output_hypernetworks_mlps.layers.1."),
    ("decoder.decoder.hypernetwork.proj_out.", "mask_decoder.output_hypernetworks_mlps.layers.2."),
    ("decoder.decoder.mask_token.", "mask_decoder.mask_tokens."),
    ("decoder.decoder.frequencies_2F", "mask_decoder.pe_layer.positional_encoding_gaussian_matrix"),
)


def load_official(file: Path, config: ModelConfig | None = None) -> MaskingModel:
    """A masking model with the release's weights on its base models.

    Args:
        file: IVM-V1.0.bin, or a file of the same layout; read as tensors only, code in it is refused.
        config: the paper's unless given; of other base models only if they are of the checkpoint's sizes.

    Raises:
        ConfigError: the configuration has parts that the release lacks.
        WeightsError: the file or a base model cannot be read, or the file's tensors are not those of the model.
    """
    config = config or paper.model_config()
    if replace(config, sam="", lmm="", inputs=replace(config.inputs, dtype="float32")) != paper.model_config("", ""):
        raise ConfigError(
            "the release's weights need the paper's LoRA, decoder, frame and prompt; start from paper.model_config() "
            "and change no more than base models and dtype"
        )
    tensors = read_tensors(file)
    model = MaskingModel(config)
    fill(model, tensors, file)
    return model.eval()


def official_names(model: MaskingModel) -> dict[str, str]:
    """Our name of each tensor that a checkpoint keeps -> its name in the release."""
    return {name: _official_name(name) for name in model.kept_tensors()}


def read_tensors(file: Path) -> dict[str, torch.Tensor]:
    """A state dict, on the CPU.

    Raises:
        WeightsError: the file is missing, torn, holds code, or is no state dict.
    """
    try:
        tensors = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"'{file}' holds more than tensors, or is torn: {first_line(error)}; it was not opened further, as "
            "unpickling could run code; get the file from its authors again"
        ) from error
    except Exception as error:  # torch's unpickler raises nearly every type on foreign bytes
        raise WeightsError(f"cannot read '{file}': {first_line(error)}; give the path of IVM-V1.0.bin") from error
    if not isinstance(tensors, dict) or not all(isinstance(value, torch.Tensor) for value in tensors.values()):
        found = ", ".join(map(repr, list(tensors)[:SHOWN])) if isinstance(tensors, dict) else type(tensors).__name__
        raise WeightsError(f"'{file}' is no state dict of tensors, found {found}; give the path of IVM-V1.0.bin")
    return tensors


@torch.no_grad()
def fill(model: MaskingModel, tensors: dict[str, torch.Tensor], file: Path) -> None:
    """Copy every tensor to its place; nothing is copied unless all fit.

    Raises:
        WeightsError: tensors are missing, left over, of other shapes, or not finite; with their names.
    """
    ours, names = model.kept_tensors(), official_names(model)
    given = {_canonical(name): value for name, value in tensors.items()}
    expected = {names[name]: value for name, value in ours.items()}
    both = expected.keys() & given.keys()
    shapes = [name for name in both if given[name].shape != expected[name].shape]
    faults = {
        "missing": expected.keys() - both,
        "unexpected": given.keys() - both,
        "of another shape": {f"{n} {tuple(given[n].shape)}, not {tuple(expected[n].shape)}" for n in shapes},
        "not finite": {name for name in both if not torch.isfinite(given[name]).all()},
    }
    if differences := "; ".join(f"{len(those)} {what}: {_listed(those)}" for what, those in faults.items() if those):
        raise WeightsError(
            f"'{file}' does not fit the model: {differences}; check that the base models are the release's"
        )
    for name, value in ours.items():
        value.copy_(given[names[name]])


def _official_name(name: str) -> str:
    if match := _LORA.fullmatch(name):
        layer, projection, half = match.groups()
        where = f"language_model.model.layers.{layer}.self_attn.{projection}.lora_{half}.default.weight"
        return f"prompt_encoder.model.base_model.model.{where}"
    for ours, theirs in _PARTS:
        if name.startswith(ours):
            return theirs + re.sub(r"layer_norm(\d)", r"norm\1", name.removeprefix(ours))
    raise ConfigError(f"the release has no tensor like {name!r}; use paper.model_config()")


def _canonical(name: str) -> str:
    """The release's own name, where newer transformers wrote `model.language_model` for `language_model.model`."""
    return name.replace("base_model.model.model.language_model.", "base_model.model.language_model.model.")


def _listed(names: set[str]) -> str:
    shown = ", ".join(sorted(names)[:SHOWN])
    return f"{shown} and {len(names) - SHOWN} more" if len(names) > SHOWN else shown
