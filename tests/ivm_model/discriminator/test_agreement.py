import torch

from ivm_model.discriminator.agreement import FEATURES, agreement

FAR = 12.0


def _square(y: int) -> torch.Tensor:
    mask_BHW = torch.zeros(1, 32, 32)
    mask_BHW[:, y : y + 8, 4:12] = 1
    return mask_BHW


def _valid() -> torch.Tensor:
    return torch.ones(1, 32, 32, dtype=torch.bool)


def _of(mask_BHW, y):
    return agreement((2 * _square(y) - 1) * FAR, mask_BHW, _valid())[0]


def test_agreement_falls_from_one_to_minus_one_as_a_mask_leaves_the_generators_answer():
    same, near, far = (_of(_square(4), y) for y in (4, 7, 20))
    assert same.min() > 0.95 and far.max() < -0.9
    assert (near < same).all() and (near[0] > far[0])


def test_agreement_does_not_look_at_the_padding():
    valid_BHW = _valid()
    valid_BHW[:, 16:] = False
    logits_BHW = (2 * _square(4) - 1) * FAR
    logits_BHW[:, 20:] = FAR
    assert agreement(logits_BHW, _square(4), valid_BHW).min() > 0.95


def named(mask_BHW, answer_BHW):
    return dict(zip(FEATURES, agreement((2 * answer_BHW - 1) * FAR, mask_BHW, _valid())[0].tolist(), strict=True))


def test_an_object_too_many_costs_precision_and_leaves_recall():
    found = named(_square(4) + _square(20), _square(4))
    assert found["recall"] > 0.95 and abs(found["precision"]) < 0.05


def test_a_missing_object_costs_recall_and_leaves_precision():
    found = named(_square(4), _square(4) + _square(20))
    assert found["precision"] > 0.95 and abs(found["recall"]) < 0.05


def test_the_weakest_piece_is_the_one_that_the_generator_does_not_see_however_small():
    small_BHW = torch.zeros(1, 32, 32)
    small_BHW[:, 28:30, 28:30] = 1
    assert named(_square(4) + small_BHW, _square(4) + small_BHW)["weakest"] > 0.95
    assert named(_square(4) + small_BHW, _square(4))["weakest"] < -0.95


def test_a_speck_is_no_piece():
    mask_BHW = torch.zeros(1, 32, 32)
    mask_BHW[:, :16] = 1
    answer_BHW = mask_BHW.clone()
    mask_BHW[:, 30, 30] = 1
    assert named(mask_BHW, answer_BHW)["weakest"] > 0.95


def test_an_empty_mask_is_as_weak_as_the_generator_is_sure_of_a_pixel():
    for prob in (0.1, 0.5, 0.9):
        logits_BHW = torch.full((1, 32, 32), -FAR)
        logits_BHW[0, 3, 3] = torch.logit(torch.tensor(prob))
        found = agreement(logits_BHW, torch.zeros(1, 32, 32), _valid())[0]
        torch.testing.assert_close(found[FEATURES.index("weakest")], torch.tensor(1 - 2 * prob), atol=1e-4, rtol=0)


def test_two_empty_masks_agree():
    assert min(named(torch.zeros(1, 32, 32), torch.zeros(1, 32, 32)).values()) > 0.95
