"""The part of the decoder that is not SAM's: how well patches fit words."""

import pytest
import torch

from ivm_model.model.decoder import DecoderConfig, Fits
from ivm_model.model.lmm import Reading
from storage.errors import ConfigError


def reading(words_BLC, is_text_BL):
    return Reading(torch.zeros_like(words_BLC), is_text_BL, is_text_BL.sum(1) - 1, words_BLC)


@pytest.fixture
def fits():
    """One map that comes through as it is."""
    module = Fits(hidden_size=4, maps=1, channels=1)
    torch.nn.init.ones_(module.project.weight)
    torch.nn.init.zeros_(module.project.bias)
    return module


def test_a_patch_that_looks_like_a_word_fits_and_another_does_not(fits):
    red, ring = torch.eye(4)[0], torch.eye(4)[1]
    vision_BTC = torch.stack([red, ring, red + ring, torch.eye(4)[3]])[None]
    words_BLC, is_text_BL = torch.stack([red, ring])[None], torch.ones(1, 2, dtype=torch.bool)
    fit_T = fits(reading(words_BLC, is_text_BL), vision_BTC)[0, :, 0].detach()
    assert fit_T.argmax() == 2 and fit_T[3] == 0 and fit_T[0] == pytest.approx(2.0, abs=1e-4)


def test_tokens_of_the_image_and_padding_count_for_nothing(fits):
    words_BLC, vision_BTC = torch.randn(2, 3, 4), torch.randn(2, 5, 4)
    is_text_BL = torch.tensor([[False, True, False], [False, True, True]])
    before = fits(reading(words_BLC, is_text_BL), vision_BTC)
    words_BLC[0, [0, 2]] += 10
    torch.testing.assert_close(fits(reading(words_BLC, is_text_BL), vision_BTC), before)


def test_a_decoder_without_maps_or_with_a_negative_number_of_them():
    assert DecoderConfig(fits=0).fits == 0
    with pytest.raises(ConfigError, match="'fits' must be at least 0"):
        DecoderConfig(fits=-1)
