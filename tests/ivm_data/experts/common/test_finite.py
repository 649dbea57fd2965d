import math

import numpy as np
import pytest
import torch

from ivm_data.experts.common.finite import check_finite
from ivm_data.experts.common.protocols import AnswerError
from ivm_data.experts.grounders.detections import DetectionConfig, select
from ivm_data.experts.lmms.hf_lmm import HfLmm, LmmConfig
from ivm_data.experts.proposers.mask_proposals import from_heatmap
from ivm_data.zoo.embedded import WEIGHTS

IMAGE = np.zeros((128, 128, 3), np.uint8)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_values_that_are_no_numbers_are_refused_in_words(bad):
    for values in (np.array([0.5, bad]), torch.tensor([0.5, bad])):
        with pytest.raises(AnswerError, match="the scores hold NaN or infinity; set the expert's 'dtype'"):
            check_finite(values, "the scores")
    assert check_finite(np.array([0.5]), "x").tolist() == [0.5]


def test_a_box_or_a_pixel_without_a_score_is_an_error_and_not_nothing_found():
    corners_Q4 = torch.tensor([[0.0, 0, 4, 4], [4, 4, 8, 8]])
    with pytest.raises(AnswerError):
        list(select(["ring"], corners_Q4, torch.tensor([[0.9], [math.nan]]), DetectionConfig()))
    with pytest.raises(AnswerError):
        from_heatmap(np.array([[0.9, math.nan]], np.float32), 0.5)


def test_an_lmm_that_computes_nan_gives_no_probability():
    lmm = HfLmm(LmmConfig(str(WEIGHTS / "lmm")))
    lmm.load()
    with torch.no_grad():
        lmm._model.lm_head.weight.fill_(math.nan)
    with pytest.raises(AnswerError, match="the logits of lmm@"):
        lmm.p_yes([IMAGE], ["Is there a ring?"])
    with pytest.raises(AnswerError, match="the log-probabilities of lmm@"):
        lmm.choose([IMAGE], ["What is it?"], [["ring", "star"]])
