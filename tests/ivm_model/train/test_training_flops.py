"""What `benchmarks.training_flops` computes of a step is what torch counts while it runs one."""

from dataclasses import replace

import pytest
from transformers import AutoConfig

from benchmarks.training_count import count
from benchmarks.training_flops import row_flops
from ivm_model.model import modern, paper
from ivm_model.model.masking_model import MaskingModel, ModelConfig


@pytest.fixture(params=["paper", "modern", "modern, small grid"])
def config(request, bases, modern_bases) -> ModelConfig:
    if request.param == "paper":
        return paper.model_config(bases.sam, bases.lmm)
    made = modern.model_config(modern_bases.sam, modern_bases.lmm)
    return made if request.param == "modern" else replace(made, inputs=replace(made.inputs, grid=6))


@pytest.mark.parametrize("again", [True, False])
def test_the_formulas_of_a_row_are_what_torch_counts(config, again):
    found, tokens = count(MaskingModel(config), again=again)
    sam, lmm = (AutoConfig.from_pretrained(path) for path in (config.sam, config.lmm))
    computed = row_flops(sam, lmm, config, tokens, again=again)
    assert (found.sam, found.tower) == (computed.sam, computed.tower)
    assert found.learn == pytest.approx(computed.learn, rel=0.03)
    assert found.all == pytest.approx(computed.all, rel=0.03)


def test_computing_activations_again_costs_what_is_counted(config):
    kept, again = (count(MaskingModel(config), again=again)[0].learn for again in (False, True))
    assert again > kept
