import pytest
import torch

from ivm_model.discriminator.agreement import FEATURES
from ivm_model.discriminator.network import Discriminator, DiscriminatorConfig
from storage.errors import ConfigError


def test_an_untrained_discriminator_gives_every_row_the_same_score(model, rows):
    discriminator = Discriminator(model.lmm, DiscriminatorConfig(question="{instruction} ok ?"), fold=0)
    logit_B = discriminator(torch.randn(2, 16, 32), ["ok", "Find the red square ."], torch.randn(2, len(FEATURES)))
    torch.testing.assert_close(logit_B, torch.zeros(2))


def test_the_discriminator_shares_the_lmm_and_owns_a_lora_and_a_head(model):
    discriminator = Discriminator(model.lmm, DiscriminatorConfig(), fold=1)
    assert set(dict(discriminator.named_parameters())) == {"head.weight", "head.bias"}
    names = set(discriminator.trained_state())
    assert {"discriminator_1.head.weight", "discriminator_1.head.bias"} <= names
    assert any(".lora_A.discriminator_1." in name for name in names)
    assert not any(".generator." in name for name in names)


@pytest.mark.parametrize(
    "wrong",
    [{"question": "Can you?"}, {"loss": "mse"}, {"folds": 1}, {"eta": 0.0}, {"dim": 0.0}, {"batch": 2}],
)
def test_a_config_that_cannot_work_is_refused(wrong):
    with pytest.raises(ConfigError):
        DiscriminatorConfig(**wrong)


def test_a_head_with_a_hidden_layer_starts_undecided_and_learns_throughout(model):
    discriminator = Discriminator(model.lmm, DiscriminatorConfig(head_width=8, agreement=False), fold=0)
    hidden_BC = torch.randn(4, model.lmm.hidden_size)
    assert not discriminator.head(hidden_BC).any()
    torch.nn.init.normal_(discriminator.head[-1].weight)
    discriminator.head(hidden_BC).sum().backward()
    assert all(value.grad is not None and value.grad.any() for value in discriminator.head.parameters())
    assert any(name.endswith("head.2.weight") for name in discriminator.trained_state())


@pytest.mark.parametrize("wrong", [{"head_width": -1}, {"head_rate": 0.0}, {"lora_rate": -1.0}])
def test_rates_and_widths_that_cannot_work_are_refused(wrong):
    with pytest.raises(ConfigError, match=f"'{next(iter(wrong))}' must"):
        DiscriminatorConfig(**wrong)
