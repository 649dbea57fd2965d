"""The discriminator: does this masked image look as a person would have masked it for this instruction?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from torch import nn

from ivm_model.discriminator.agreement import FEATURES
from ivm_model.engine.ema import fill
from ivm_model.model.lmm import Lmm
from storage.common.validation import Checked, Count, Natural, NotNegative, Positive, at_least, within
from storage.errors import ConfigError


@dataclass(frozen=True)
class DiscriminatorConfig(Checked):
    """What the discriminator sees and how it is trained.

    Attributes:
        question: what the LMM reads beside the masked image; the default is IVM's.
        dim: how far the pixels outside the mask fade to white, 1 for all the way.
        loss: "bce" (IVM), "pu" (DWBC) or "nnpu".
        eta: supposed share of good machine labels, for the PU losses.
        agreement: also look at how far the mask agrees with the generator after its warm-up.
        wrong_per_row: deliberately wrong views of each human row.
        folds: the discriminator that scores a row was trained on the other folds' images.
        human, machine: most rows of each origin that it learns from, evenly by source; their images are kept in memory.
        steps: optimiser steps of each fold.
        batch: views in a step; half of them human, the rest machine and wrong in equal parts.
        head_width: hidden width of the head, IVM's has 1024; 0 means a linear head.
        head_rate, lora_rate: peak learning rates; with a `lora_rate` of 0 only the heads learn.
    """

    question: str = "{instruction} Can you follow instruction above based on the given image?"
    dim: Annotated[float, within("(0, 1]")] = 1.0
    loss: Literal["bce", "pu", "nnpu"] = "bce"
    eta: Annotated[float, within("(0, 1)")] = 0.5
    agreement: bool = True
    wrong_per_row: Natural = 4
    folds: Annotated[int, at_least(2)] = 2
    human: Annotated[int, at_least(2)] = 1000
    machine: Annotated[int, at_least(2)] = 2000
    steps: Count = 80
    batch: Annotated[int, at_least(4)] = 32
    head_width: Natural = 0
    head_rate: Positive = 3e-3
    lora_rate: NotNegative = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if "{instruction}" not in self.question:
            raise ConfigError(f"'question' must hold '{{instruction}}', got {self.question!r}")


def paper_config() -> DiscriminatorConfig:
    """The discriminator of IVM (arXiv 2405.19783): white outside the mask, its question, an MLP head and plain BCE.

    Ours are the cross-fitted folds (the paper's D scores the labels that it was trained on), a layer norm before the
    head, and a head for labels that say "no target", of which the paper has none. 1024 is the head's width in the
    release. The rates are LISA's (arXiv 2308.00692), whose decoder and LoRA are of the same kind; the paper names only
    AdamW.
    """
    return DiscriminatorConfig(
        question="{instruction} \n Can you follow instruction above based on the given image?",
        dim=1.0,
        loss="bce",
        agreement=False,
        wrong_per_row=0,
        head_width=1024,
        head_rate=3e-4,
        lora_rate=3e-4,
    )


class Discriminator(nn.Module):
    """One fold: its own LoRA on the shared LMM, and two heads on the last token's state and the agreement.

    A label that says "no target" keeps no pixel, so there is nothing to see under its mask. It is asked about over the
    whole image, where the answer means the opposite, by a head of its own. Both heads start at zero: an untrained
    discriminator says 0.5, and so does the absence head where no person said "no target".
    """

    def __init__(self, lmm: Lmm, config: DiscriminatorConfig, fold: int) -> None:
        super().__init__()
        self.config, self.role = config, f"discriminator_{fold}"
        self._lmm = (lmm,)  # in a tuple: the LMM is the generator's child, not this module's
        lmm.add_role(self.role)
        self.norm = nn.LayerNorm(lmm.hidden_size, elementwise_affine=False)
        inputs = lmm.hidden_size + len(FEATURES) * config.agreement
        self.head, self.absence_head = (_head(inputs, config.head_width) for _ in range(2))

    @property
    def lmm(self) -> Lmm:
        """The LMM that all roles share."""
        return self._lmm[0]

    @property
    def device(self) -> torch.device:
        """Where the head is."""
        return next(self.head.parameters()).device

    def forward(
        self, vision_BTC: torch.Tensor, instructions: Sequence[str], agreement_BF: torch.Tensor, empty_B: torch.Tensor
    ) -> torch.Tensor:
        """Logit that the label is human, logit_B.

        Args:
            vision_BTC: `Lmm.see` of the masked images; of the whole image where the mask is empty.
            agreement_BF: from `agreement.agreement`; ignored where the configuration does without.
            empty_B: bool, which masks are empty.
        """
        texts = [self.config.question.format(instruction=instruction) for instruction in instructions]
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.config.lora_rate > 0):
            hidden_BC = self.norm(self.lmm.read(texts, vision_BTC, self.role).last)
        if self.config.agreement:
            hidden_BC = torch.cat([hidden_BC, agreement_BF], 1)
        logit_B1: torch.Tensor = torch.where(empty_B[:, None], self.absence_head(hidden_BC), self.head(hidden_BC))
        return logit_B1[:, 0]

    def trained_state(self) -> dict[str, torch.Tensor]:
        """LoRA and heads, by name; without the LMM, which is not a child, the heads are all that there is."""
        lora = {f"{self.role}.{name}": value.detach() for name, value in self.lmm.role_parameters(self.role).items()}
        return lora | {f"{self.role}.{name}": value for name, value in self.state_dict().items()}

    def load_trained(self, state: Mapping[str, torch.Tensor]) -> None:
        """Take over a `trained_state`; that of other folds is passed over."""
        mine = {name.removeprefix(f"{self.role}."): value for name, value in state.items()}
        fill(self.lmm.role_parameters(self.role), mine)
        self.load_state_dict({name: mine[name] for name in self.state_dict()})


def _head(inputs: int, width: int) -> nn.Module:
    last = nn.Linear(width or inputs, 1)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(nn.Linear(inputs, width), nn.GELU(), last) if width else last
