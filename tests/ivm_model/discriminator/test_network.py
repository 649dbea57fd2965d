import pytest
import torch

from ivm_model.discriminator.agreement import FEATURES
from ivm_model.discriminator.network import Discriminator, DiscriminatorConfig
from storage.errors import ConfigError


def test_an_untrained_discriminator_gives_every_row_the_same_score(model, rows):
    discriminator = Discriminator(model.lmm, DiscriminatorConfig(question="{instruction} ok ?"), fold=0)
    agreement_BF, empty_B = torch.randn(2, len(FEATURES)), torch.tensor([False, True])
    logit_B = discriminator(torch.randn(2, 16, 32), ["ok", "Find the red square ."], agreement_BF, empty_B)
    torch.testing.assert_close(logit_B, torch.zeros(2))


def test_what_says_no_target_is_judged_by_a_head_of_its_own(model):
    discriminator = Discriminator(model.lmm, DiscriminatorConfig(question="{instruction} ok ?"), fold=0)
    torch.nn.init.normal_(discriminator.absence_head.weight)
    seen, agreement_BF = (torch.randn(2, 16, 32), ["ok", "ok"]), torch.randn(2, len(FEATURES))
    logit_B = discriminator(*seen, agreement_BF, torch.tensor([False, True]))
    assert logit_B[0] == 0 and logit_B[1] != 0


def test_the_discriminator_shares_the_lmm_and_owns_a_lora_and_two_heads(model):
    discriminator = Discriminator(model.lmm, DiscriminatorConfig(), fold=1)
    heads = {f"{head}.{tensor}" for head in ("head", "absence_head") for tensor in ("weight", "bias")}
    assert set(dict(discriminator.named_parameters())) == heads
    names = set(discriminator.trained_state())
    assert {f"discriminator_1.{name}" for name in heads} <= names
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
