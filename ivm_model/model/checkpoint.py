"""Our checkpoint: the trained tensors, which base models they belong to, and a model card."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from ivm_model.model.base_models import first_line
from ivm_model.model.decoder import DecoderConfig
from ivm_model.model.inputs import InputConfig
from ivm_model.model.lmm import LoraSettings
from ivm_model.model.masking_model import MaskingModel, ModelConfig
from storage.disk.publish import whole_folder
from storage.errors import ConfigError, WeightsError

FORMAT = 1
_KEYS = {"weights", "base_models", "model"}
TENSORBOARD = "tb"
_HUB_FIELDS = """---
library_name: ivm-engine
pipeline_tag: image-segmentation
tags: [instruction-guided-visual-masking, safetensors]
---

"""
"""What the hub reads at the head of a card."""
WEIGHTS, DISCRIMINATORS, CONFIG, CARD = "model.safetensors", "discriminators.safetensors", "config.json", "README.md"


def save_checkpoint(
    directory: Path,
    model: MaskingModel,
    report: Mapping[str, Any],
    card: str,
    discriminators: Mapping[str, torch.Tensor] | None = None,
) -> Path:
    """Write a checkpoint; the directory appears whole, an older one is replaced, and TensorBoard's files stay.

    Args:
        report: facts about the training, JSON values only.
        card: text of the model card.
        discriminators: tensors of stage I, kept beside the model for audits.
    """
    weights = {name: value.detach().contiguous() for name, value in model.kept_tensors().items()}
    return write_checkpoint(
        directory,
        weights,
        base_models=model.base_models,
        model=model.config,
        report=report,
        card=card,
        discriminators=discriminators,
    )


def write_checkpoint(
    directory: Path,
    weights: Mapping[str, torch.Tensor],
    *,
    base_models: Mapping[str, str],
    model: ModelConfig,
    report: Mapping[str, Any],
    card: str,
    discriminators: Mapping[str, torch.Tensor] | None = None,
) -> Path:
    """As `save_checkpoint`, of the parts of a model.

    Args:
        weights: what `MaskingModel.kept_tensors` names, contiguous.
        base_models: `model@revision` by role.
    """
    from safetensors.torch import save_file

    config = {
        "format": FORMAT,
        "weights": tensor_hash(weights),
        "base_models": dict(base_models),
        "model": asdict(model),
        "training": report,
    }
    with whole_folder(directory, keep=(TENSORBOARD,)) as folder:
        save_file(dict(weights), folder / WEIGHTS)
        if discriminators:
            save_file(dict(discriminators), folder / DISCRIMINATORS)
        (folder / CARD).write_text(_HUB_FIELDS + card, encoding="utf-8")
        (folder / CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    return directory


def load_checkpoint(directory: Path, sam: str = "", lmm: str = "", dtype: str = "") -> MaskingModel:
    """Read a checkpoint onto its base models.

    Args:
        sam, lmm: where the base models lie now, if they moved; "" means where they lay at training. What begins with a
            dot is meant from the checkpoint's folder, so that it may move together with them.
        dtype: of the LMM's frozen weights; "" means as at training.

    Raises:
        WeightsError: the checkpoint is missing, torn or of another format, or a base model is not the one it was
            trained on.
    """
    config = read_config(directory)
    model = MaskingModel(_model_config(directory, config["model"], sam, lmm, dtype))
    _check_base_models(directory, config["base_models"], model.base_models)
    _fill(model, _read_weights(directory, config["weights"]), directory)
    return model.eval()


def go_on_from(directory: Path, model: MaskingModel) -> None:
    """Take over a checkpoint's trained tensors into a model of the same settings.

    Raises:
        ConfigError: the model has other settings.
        WeightsError: as of `load_checkpoint`.
    """
    config, wanted = read_config(directory), model.config
    kept = _model_config(directory, config["model"], wanted.sam, wanted.lmm, wanted.inputs.dtype)
    if other := [name for name in ("lora", "decoder", "inputs") if getattr(kept, name) != getattr(wanted, name)]:
        raise ConfigError(
            f"'{directory}' was trained with other settings of {', '.join(other)} than this training asks for; leave "
            "them out, so that the checkpoint's are taken, or start anew without 'start'"
        )
    _check_base_models(directory, config["base_models"], model.base_models)
    _fill(model, _read_weights(directory, config["weights"]), directory)


def model_config(directory: Path, sam: str = "", lmm: str = "", dtype: str = "") -> ModelConfig:
    """What a checkpoint's model is made of; no weights are read. Arguments and errors: see `load_checkpoint`."""
    return _model_config(directory, read_config(directory)["model"], sam, lmm, dtype)


def read_config(directory: Path) -> dict[str, Any]:
    """A checkpoint's config.json.

    Raises:
        WeightsError: there is none, or it is not ours.
    """
    try:
        config = json.loads((directory / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        files = sorted(directory.glob("*.bin"))
        advice = (
            f"if you mean the release's weights, give the file '{files[0]}'"
            if files
            else "give a folder that 'ivm train' wrote"
        )
        if not directory.exists():
            raise WeightsError(f"there is no checkpoint folder '{directory}'; {advice}") from error
        why = error.strerror if isinstance(error, OSError) else first_line(error)
        raise WeightsError(f"no readable {CONFIG} in '{directory}': {why}; {advice}") from error
    if not isinstance(config, dict) or config.get("format") != FORMAT or not config.keys() >= _KEYS:
        found = config.get("format") if isinstance(config, dict) else type(config).__name__
        raise WeightsError(f"'{directory}' is no masking model of format {FORMAT}, found {found!r}; train it again")
    return config


def tensor_hash(tensors: Mapping[str, torch.Tensor]) -> str:
    """16 hex digits over names, shapes and values."""
    digest = hashlib.blake2b(digest_size=8)
    for name in sorted(tensors):
        value = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tuple(value.shape)} {value.dtype} ".encode() + value.numpy().tobytes())
    return digest.hexdigest()


def _model_config(directory: Path, settings: dict[str, Any], sam: str, lmm: str, dtype: str) -> ModelConfig:
    try:
        inputs = InputConfig(**settings.get("inputs", {}))
        return ModelConfig(
            sam=sam or _from(directory, settings["sam"]),
            lmm=lmm or _from(directory, settings["lmm"]),
            lora=LoraSettings(**{**settings["lora"], "layers": tuple(settings["lora"]["layers"])}),
            decoder=DecoderConfig(**settings["decoder"]),
            inputs=inputs.in_dtype(dtype),
        )
    except (KeyError, TypeError) as error:
        raise WeightsError(f"'{directory / CONFIG}' lacks or misnames a setting: {error}; train it again") from error


def _from(directory: Path, path: str) -> str:
    """A path as the checkpoint means it."""
    return str((directory / path).resolve()) if path.startswith(".") else path


def _read_weights(directory: Path, expected: str) -> dict[str, torch.Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        weights = load_file(directory / WEIGHTS)
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"cannot read '{directory / WEIGHTS}': {first_line(error)}; copy it again") from error
    if tensor_hash(weights) != expected:
        raise WeightsError(f"'{directory / WEIGHTS}' is not the file that {CONFIG} describes; copy both again")
    return weights


@torch.no_grad()
def _fill(model: MaskingModel, weights: Mapping[str, torch.Tensor], directory: Path) -> None:
    parameters = model.kept_tensors()
    wrong = {name for name in parameters if name not in weights or weights[name].shape != parameters[name].shape}
    if wrong or len(weights) != len(parameters):
        raise WeightsError(
            f"'{directory}' holds {len(weights)} tensors, the model trains {len(parameters)}, {len(wrong)} do not fit"
            f"{', first ' + min(wrong) if wrong else ''}; it was trained with other base models or settings"
        )
    for name, value in parameters.items():
        value.copy_(weights[name])


def _check_base_models(directory: Path, trained_on: Mapping[str, str], found: Mapping[str, str]) -> None:
    for role, name in trained_on.items():
        if name.rpartition("@")[2] != found[role].rpartition("@")[2]:
            raise WeightsError(
                f"'{directory}' was trained on {role} {name}, found {found[role]}; "
                f"pass the directory of the right one, or train again"
            )
