"""Training recipes: the one place that knows where base models lie and what they are used to be asked.

Their configs lie beside the models, so a recipe imports them when it is made: to name it must not cost torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ivm_data.config import override
from ivm_data.experts.lmms import prompts
from ivm_data.experts.registry import embedded
from storage.errors import ConfigError

if TYPE_CHECKING:
    from ivm_model.train.train_config import TrainConfig

TrainingRecipe = Literal["embedded", "paper", "modern"]


def train_config(
    data: Path, out: Path, changes: Mapping[str, Any] | None = None, recipe: TrainingRecipe = "embedded"
) -> TrainConfig:
    """A whole training configuration with dotted fields replaced, for example `{"generator.steps": 300}`.

    A `start`, a checkpoint folder or `zoo:ivm`, brings base models and settings of its model with it.

    Raises:
        ConfigError: an unknown recipe, an unknown field, or a value it does not take.
        WeightsError: there is no checkpoint at `start`.
    """
    if recipe not in RECIPES:
        raise ConfigError(f"the training recipe must be one of {', '.join(RECIPES)}, got {recipe!r}")
    config, changes = RECIPES[recipe](data, out), dict(changes or {})
    if start := changes.pop("start", ""):
        config = _started(config, start)
    return override(config, changes)


def _started(config: TrainConfig, start: str) -> TrainConfig:
    from ivm_model.model.checkpoint import model_config

    folder = embedded(start)
    model = model_config(Path(folder))
    return replace(
        config, start=folder, sam=model.sam, lmm=model.lmm, lora=model.lora, decoder=model.decoder, inputs=model.inputs
    )


def embedded_models(data: Path, out: Path) -> TrainConfig:
    """The embedded base models, on a laptop.

    The discriminator asks what the verifier asks: its LMM was trained on that question, about images faded like that.
    """
    from ivm_model.discriminator.network import DiscriminatorConfig
    from ivm_model.train.train_config import TrainConfig

    return TrainConfig(
        data,
        out,
        sam=embedded("zoo:segmenter"),
        lmm=embedded("zoo:lmm"),
        discriminator=DiscriminatorConfig(question=prompts.VERIFY, dim=prompts.VERIFY_DIM),
    )


def paper_models(data: Path, out: Path) -> TrainConfig:
    """LLaVA-1.5-7B and SAM ViT-H as in IVM (arXiv 2405.19783): 16.6 M trained parameters, clip(sigmoid D) as weight.

    As many steps as read a million rows once on one process. Stage I comes first, so there is no warm-up. The paper
    names AdamW but no rates; these are LISA's (arXiv 2308.00692).
    """
    from ivm_model.discriminator.network import paper_config
    from ivm_model.engine.processes import RunConfig
    from ivm_model.model import paper
    from ivm_model.train.generator import GeneratorConfig
    from ivm_model.train.train_config import TrainConfig

    return TrainConfig(
        data,
        out,
        sam=paper.SAM,
        lmm=paper.LMM,
        decoder=paper.DECODER,
        inputs=replace(paper.INPUTS, dtype="bfloat16"),
        weighting="clip_sigmoid",
        discriminator=replace(paper_config(), steps=5_000),
        generator=GeneratorConfig(steps=62_500, warmup=0.0, batch=16, decoder_rate=3e-4, lora_rate=3e-4),
        run=RunConfig(precision="bf16", gradient_checkpointing=True),
    )


def modern_models(data: Path, out: Path) -> TrainConfig:
    """SAM 2.1 Hiera-L and Qwen3-VL-2B, with the verification score's ratio as weight.

    In the measurements of docs/dwsl.md that weight is worth as much as the discriminator's, and it needs no stage I,
    whose views take 9.4 MB each here. Steps, batch and rates are those of `paper_models`.
    """
    from ivm_model.engine.processes import RunConfig
    from ivm_model.model import modern
    from ivm_model.train.generator import GeneratorConfig
    from ivm_model.train.train_config import TrainConfig

    return TrainConfig(
        data,
        out,
        sam=modern.SAM,
        lmm=modern.LMM,
        decoder=modern.DECODER,
        inputs=replace(modern.INPUTS, dtype="bfloat16"),
        weighting="verification_ratio",
        generator=GeneratorConfig(steps=62_500, batch=16, decoder_rate=3e-4, lora_rate=3e-4),
        run=RunConfig(precision="bf16", gradient_checkpointing=True),
    )


RECIPES: dict[str, Callable[[Path, Path], TrainConfig]] = {
    "embedded": embedded_models,
    "paper": paper_models,
    "modern": modern_models,
}
"""Whole training configurations by name."""
