"""The whole configuration of a training."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ivm_model.data.examples import FeedConfig
from ivm_model.data.training_rows import RowsConfig
from ivm_model.discriminator.network import DiscriminatorConfig
from ivm_model.engine.processes import RunConfig
from ivm_model.model.decoder import DecoderConfig
from ivm_model.model.inputs import InputConfig
from ivm_model.model.lmm import LoraSettings
from ivm_model.model.masking_model import ModelConfig
from ivm_model.train.generator import GeneratorConfig
from ivm_model.weighting.weightings import (
    NEEDS_DISCRIMINATOR,
    NEEDS_WARMUP,
    check_loss,
    get_weighting,
)
from storage.common.validation import Checked, Natural


@dataclass(frozen=True)
class TrainConfig(Checked):
    """One training.

    Attributes:
        data: data folder with labeled shards.
        out: directory of the checkpoint.
        sam, lmm: base models, directories or hub ids.
        weighting: a key of `ivm_model.weighting.weightings.WEIGHTINGS`.
        seed: of weights, order and wrong masks.
        run: precision, states, validation.
        rows: which labels train and which score.
        feed: how they are read.
        start: checkpoint folder whose trained tensors are gone on from; the model's settings must be its own. "" starts
            anew.
        embeddings: folder that keeps SAM's embeddings between trainings; "" keeps none on disk.
    """

    data: Path
    out: Path
    sam: str
    lmm: str
    weighting: str = "clip_sigmoid"
    seed: Natural = 0
    rows: RowsConfig = field(default_factory=RowsConfig)
    feed: FeedConfig = field(default_factory=FeedConfig)
    lora: LoraSettings = field(default_factory=LoraSettings)
    decoder: DecoderConfig = field(default_factory=DecoderConfig)
    inputs: InputConfig = field(default_factory=InputConfig)
    discriminator: DiscriminatorConfig = field(default_factory=DiscriminatorConfig)
    generator: GeneratorConfig = field(default_factory=GeneratorConfig)
    run: RunConfig = field(default_factory=RunConfig)
    start: str = ""
    embeddings: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        get_weighting(self.weighting)
        check_loss(self.weighting, self.discriminator.loss)

    @property
    def model(self) -> ModelConfig:
        """What the masking model is made of."""
        return ModelConfig(self.sam, self.lmm, self.lora, self.decoder, self.inputs)

    @property
    def warmup_steps(self) -> int:
        """Steps with uniform weights; none for a weighting that needs no generator."""
        return self.generator.warmup_steps if self.weighting in NEEDS_WARMUP else 0

    @property
    def needs_discriminator(self) -> bool:
        """The weighting needs the discriminators of stage I."""
        return self.weighting in NEEDS_DISCRIMINATOR
