import numpy as np
import pytest
import torch

from ivm_model.model.lmm import Lmm, LoraSettings
from storage.errors import ConfigError, WeightsError

IMAGES = [np.random.default_rng(i).integers(0, 255, (64, 64, 3), np.uint8) for i in range(2)]


@pytest.fixture
def lmm(bases) -> Lmm:
    lmm = Lmm(bases.lmm)
    lmm.add_role("one")
    lmm.add_role("two")
    return lmm.eval()


@torch.no_grad()
def _disturb(lmm: Lmm, role: str) -> None:
    for value in lmm.role_parameters(role).values():
        value += 0.5


def test_lora_sits_on_the_language_models_chosen_layers_only(lmm):
    names = lmm.role_parameters("one")
    assert names and all(".language_model." in name for name in names)
    assert all(".q_proj." in name or ".v_proj." in name for name in names)


def test_a_fresh_role_reads_as_the_frozen_model_does(lmm):
    vision_BTC = lmm.see(IMAGES)
    frozen, fresh = (lmm.read(["Find the red square .", "ok"], vision_BTC, role).last for role in (None, "one"))
    torch.testing.assert_close(fresh, frozen)


def test_a_role_changes_what_it_reads_and_nothing_else(lmm):
    vision_BTC, texts = lmm.see(IMAGES), ["Find the red square .", "ok"]
    before = {role: lmm.read(texts, vision_BTC, role).last for role in (None, "one", "two")}
    _disturb(lmm, "one")
    after = {role: lmm.read(texts, vision_BTC, role).last for role in (None, "one", "two")}
    torch.testing.assert_close(after["two"], before["two"])
    torch.testing.assert_close(after[None], before[None])
    assert (after["one"] - before["one"]).abs().max() > 1e-3
    torch.testing.assert_close(lmm.see(IMAGES), vision_BTC)


def test_a_prompt_reads_the_same_alone_and_beside_a_longer_one(lmm):
    vision_BTC = lmm.see(IMAGES)
    together = lmm.read(["ok", "Find the red square . Find the blue square ."], vision_BTC, None).last
    alone = lmm.read(["ok"], vision_BTC[:1], None).last
    torch.testing.assert_close(together[:1], alone, atol=1e-5, rtol=1e-4)


def test_the_state_depends_on_image_and_words(lmm):
    vision_BTC = lmm.see(IMAGES)
    red, blue = (lmm.read([f"Find the {word} square ."] * 2, vision_BTC, None).last for word in ("red", "blue"))
    assert (red - blue).abs().max() > 1e-4
    assert (red[0] - red[1]).abs().max() > 1e-4


def test_text_tokens_are_those_after_the_image(lmm):
    reading = lmm.read(["ok", "Find the red square ."], lmm.see(IMAGES), None)
    assert reading.is_text_BL.sum(1).tolist() == [2, 6]
    assert reading.hidden_BLC.shape[1] == 7 + 16


def test_a_wide_image_is_padded_not_cropped(lmm):
    wide_HWC = np.full((32, 64, 3), 255, np.uint8)
    square_HWC = np.full((64, 64, 3), 255, np.uint8)
    wide_HWC[:, -8:] = square_HWC[:32, -8:] = 0
    torch.testing.assert_close(lmm.see([wide_HWC]), lmm.see([square_HWC]))


def test_a_dropped_role_leaves_no_parameters(lmm):
    lmm.drop_role("two")
    assert not lmm.role_parameters("two") and lmm.role_parameters("one")


def test_training_switches_only_the_loras_dropout(lmm):
    lmm.train()
    assert {name.split(".")[-1] for name, module in lmm.named_modules() if module.training} == {"one", "two"}


@pytest.mark.parametrize("wrong", [{"rank": 0}, {"dropout": 1.0}, {"layers": ()}])
def test_lora_settings_that_cannot_work_are_refused(wrong):
    with pytest.raises(ConfigError, match=f"'{next(iter(wrong))}' must"):
        LoraSettings(**wrong)


def test_a_missing_checkpoint_says_what_to_give(tmp_path):
    with pytest.raises(WeightsError, match="give a directory"):
        Lmm(str(tmp_path))
