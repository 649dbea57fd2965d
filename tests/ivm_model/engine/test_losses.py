import torch

from ivm_model.engine import losses

FAR = 12.0


def _logits(mask_BHW: torch.Tensor) -> torch.Tensor:
    return (2 * mask_BHW - 1) * FAR


def _half() -> torch.Tensor:
    mask_BHW = torch.zeros(1, 8, 8)
    mask_BHW[:, :4] = 1
    return mask_BHW


def test_a_perfect_mask_costs_almost_nothing_and_an_inverted_one_much():
    mask_BHW = _half()
    assert losses.mask_loss(_logits(mask_BHW), mask_BHW).item() < 1e-3
    assert losses.mask_loss(-_logits(mask_BHW), mask_BHW).item() > FAR / 2


def test_dice_is_one_minus_the_overlap_of_the_masks():
    target_BHW = _half()
    guess_BHW = torch.zeros(1, 8, 8)
    guess_BHW[:, 2:6] = 1
    expected = 1 - (2 * 16 + 1) / (32 + 32 + 1)
    assert abs(losses.dice(_logits(guess_BHW), target_BHW).item() - expected) < 1e-3


def test_an_empty_target_still_pulls_the_mask_down():
    logits_BHW = torch.zeros(1, 8, 8, requires_grad=True)
    losses.dice(logits_BHW, torch.zeros(1, 8, 8)).backward()
    assert (logits_BHW.grad > 0).all()


def test_ignored_pixels_do_not_count():
    mask_BHW = _half()
    valid_BHW = torch.ones(1, 8, 8, dtype=torch.bool)
    valid_BHW[:, :, 4:] = False
    wrong_BHW = _logits(mask_BHW)
    wrong_BHW[:, :, 4:] *= -1
    right = losses.mask_loss(_logits(mask_BHW), mask_BHW, valid_BHW)
    torch.testing.assert_close(losses.mask_loss(wrong_BHW, mask_BHW, valid_BHW), right)


def test_a_sample_that_is_all_ignored_costs_nothing_but_dices_constant():
    mask_BHW = _half()
    loss_B = losses.mask_loss(torch.randn(1, 8, 8), mask_BHW, torch.zeros(1, 8, 8, dtype=torch.bool))
    torch.testing.assert_close(loss_B, torch.zeros(1))


def test_the_binary_loss_is_balanced_between_human_and_not_human():
    zero_3, zero_7 = torch.zeros(3), torch.zeros(7)
    torch.testing.assert_close(losses.human_or_not(zero_3, zero_7), 2 * torch.log(torch.tensor(2.0)))
    torch.testing.assert_close(losses.human_or_not(zero_3, zero_7, zero_3), 2 * torch.log(torch.tensor(2.0)))


def test_the_pu_loss_is_the_formula_of_dwbc():
    human_H, machine_M, eta = torch.tensor([0.3, -0.5]), torch.tensor([0.1, 0.9, -1.0]), 0.4
    d_h, d_m = human_H.sigmoid(), machine_M.sigmoid()
    expected = eta * -d_h.log().mean() - (1 - d_m).log().mean() + eta * (1 - d_h).log().mean()
    torch.testing.assert_close(losses.positive_unlabeled(human_H, machine_M, eta=eta), expected)
    torch.testing.assert_close(losses.non_negative_pu(human_H, machine_M, eta=eta), expected)


def test_the_pu_loss_does_not_reward_certainty_without_end():
    machine_M = torch.zeros(4)
    sure, surer = (losses.positive_unlabeled(torch.full((4,), x), machine_M) for x in (5.0, 50.0))
    torch.testing.assert_close(sure, surer)


def test_the_non_negative_loss_clips_a_negative_risk_below_zero():
    sure_H, sure_M = torch.full((4,), 8.0), torch.full((4,), -8.0)
    assert losses.positive_unlabeled(sure_H, sure_M) < 0
    assert losses.non_negative_pu(sure_H, sure_M) >= 0


def test_pu_forgives_a_machine_label_that_looks_human_where_the_binary_loss_does_not():
    machine_M = torch.zeros(1, requires_grad=True)
    human_H = torch.zeros(1, requires_grad=True)
    losses.human_or_not(human_H, machine_M).backward()
    pull_binary = machine_M.grad.clone() + human_H.grad.clone()
    machine_M.grad = human_H.grad = None
    losses.positive_unlabeled(human_H, machine_M, eta=0.5).backward()
    assert (machine_M.grad + human_H.grad) / human_H.grad.abs() <= pull_binary + 1e-6
