"""The checkpoint of IVM's release (IVM-V1.0.bin of github.com/2toinf/IVM), read by a map of its tensors' names.

The file holds what the release trained: LoRA, projection and mask decoder. SAM and the LMM come from their own files.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import replace
from pathlib import Path

import torch

from ivm_model.model import paper
from ivm_model.model.base_models import checkpoint_name
from ivm_model.model.checkpoint import tensor_hash, write_checkpoint
from ivm_model.model.masking_model import GENERATOR, MaskingModel, ModelConfig
from ivm_model.model.released_bases import check_weights_are_there, kept_shapes
from ivm_model.model.torch_file import listed, read_tensors
from storage.errors import ConfigError, IvmWarning, WeightsError

CONVERTED = "converted_from"
"""The fact by which a checkpoint of `convert` is known."""
_ADVICE = "download the file IVM-V1.0.bin that github.com/2toinf/IVM links to, and give its path"
_TRAINED = re.compile(r"mask_decoder\.|prompt_encoder\.text_proj\.|prompt_encoder\.model\..*\.lora_[AB]\.")
_FROZEN = re.compile(r"image_encoder\.|prompt_encoder\.model\.|pixel_(mean|std)$")
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


@torch.no_grad()
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
    weights = read_weights(file, config)
    model = MaskingModel(config)
    for name, value in model.kept_tensors().items():
        value.copy_(weights[name])
    return model.eval()


def convert(file: Path, out: Path, config: ModelConfig | None = None) -> Path:
    """Write the release's weights as a checkpoint of ours, without reading a base model's weights into memory.

    Args:
        file, config: as for `load_official`; directories of base models are written down as absolute paths.
        out: the folder; one that is there is replaced, so ask `storage.outputs` first.

    Raises:
        ConfigError, WeightsError: see `load_official`; or a base model's weights are not there.
    """
    config = config or paper.model_config()
    config = replace(config, sam=_lasting(config.sam), lmm=_lasting(config.lmm))
    read = read_weights(file, config)
    for path in (config.sam, config.lmm):
        check_weights_are_there(path)
    weights = {name: value.float().contiguous() for name, value in read.items()}
    base_models = {"sam": checkpoint_name(config.sam), "lmm": checkpoint_name(config.lmm)}
    facts = {CONVERTED: file.name, "tensors": tensor_hash(read)}
    card = _card(file.name, base_models)
    return write_checkpoint(out, weights, base_models=base_models, model=config, report=facts, card=card)


def read_weights(file: Path, config: ModelConfig) -> dict[str, torch.Tensor]:
    """The file's tensors under our names, all of the shapes that the base models' configurations ask for.

    Raises:
        ConfigError, WeightsError: see `load_official`.
    """
    if replace(config, sam="", lmm="", inputs=replace(config.inputs, dtype="float32")) != paper.model_config("", ""):
        raise ConfigError(
            "the release's weights need the paper's LoRA, decoder, frame and prompt; start from paper.model_config() "
            "and change no more than base models and dtype"
        )
    given = _trained(read_tensors(file, _ADVICE), file)
    shapes = {name: (_official_name(name), shape) for name, shape in kept_shapes(config).items()}
    _check(given, dict(shapes.values()), file)
    return {ours: given[theirs] for ours, (theirs, _) in shapes.items()}


def _trained(tensors: dict[str, torch.Tensor], file: Path) -> dict[str, torch.Tensor]:
    """What the release trained, under the release's own names; copies of frozen base models are left unread."""
    found = {_canonical(name): value for name, value in tensors.items()}
    if not any(_TRAINED.match(name) for name in found):
        raise WeightsError(
            f"'{file}' holds {len(found)} tensors that are none of the release's: {listed(set(found))}; there they are "
            f"named mask_decoder.* and prompt_encoder.*; {_ADVICE}"
        )
    frozen = {name for name in found if _FROZEN.match(name) and not _TRAINED.match(name)}
    if frozen:
        warnings.warn(
            f"'{file}' also holds {len(frozen)} tensors of frozen base models, which are not read: {listed(frozen)}; "
            "SAM and the LMM come from their own checkpoints",
            IvmWarning,
            stacklevel=3,
        )
    return {name: value for name, value in found.items() if name not in frozen}


def _check(given: dict[str, torch.Tensor], expected: dict[str, torch.Size], file: Path) -> None:
    both = expected.keys() & given.keys()
    shapes = [name for name in both if given[name].shape != expected[name]]
    faults = {
        "missing": expected.keys() - both,
        "unexpected": given.keys() - both,
        "of another shape": {f"{n} {tuple(given[n].shape)}, not {tuple(expected[n])}" for n in shapes},
        "not finite": {name for name in both if not torch.isfinite(given[name]).all()},
    }
    if differences := "; ".join(f"{len(those)} {what}: {listed(those)}" for what, those in faults.items() if those):
        raise WeightsError(
            f"'{file}' does not fit the model: {differences}; check that the base models are the release's, "
            f"{paper.LMM} and {paper.SAM}"
        )


def _official_name(name: str) -> str:
    """Our name of a tensor that a checkpoint keeps -> its name in the release."""
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


def _lasting(path: str) -> str:
    return str(Path(path).resolve()) if Path(path).is_dir() else path


def _card(name: str, base_models: dict[str, str]) -> str:
    bases = "\n".join(f"- {role}: `{base}`" for role, base in base_models.items())
    return (
        f"# Masking model\n\nImage and instruction -> heatmap of the pixels that the instruction needs (IVM, arXiv "
        f"2405.19783). The release's own weights, converted from `{name}` by `ivm convert`; nothing was trained.\n\n"
        f"Base models, which are not in this folder:\n\n{bases}\n"
    )
