import math

import numpy as np
import pytest

from ivm_data.quality.calibration import Uncalibrated
from ivm_data.stages.gate import GateConfig, GateStage, decide
from ivm_data.stages.stage import Draft
from storage.errors import ConfigError
from storage.records import MISSING, REASONS, Label, Lineage, Rejection, Sample, Scores, Status

GOOD = {"quality": 0.95, "area_ratio": 0.1, "understood": 1.0, "agreement": 0.9}


@pytest.mark.parametrize(
    ("scores", "absent", "status", "reason"),
    [
        ({}, False, Status.ACCEPTED, "ok"),
        ({}, True, Status.NO_TARGET, "target_absent"),
        ({"quality": 0.6}, False, Status.REVIEW, "uncertain"),
        ({"quality": 0.6}, True, Status.REVIEW, "uncertain"),
        ({"quality": 0.1}, False, Status.REJECTED, "low_quality"),
        ({"quality": 0.1}, True, Status.REJECTED, "low_quality"),
        ({"area_ratio": 0.99}, False, Status.REJECTED, "area_outlier"),
        ({"area_ratio": 0.0001}, False, Status.REJECTED, "area_outlier"),
        ({"understood": 0.5}, False, Status.REVIEW, "not_understood"),
        ({"agreement": 0.0}, False, Status.REVIEW, "experts_disagree"),
        ({"agreement": 0.0, "quality": 0.1}, False, Status.REJECTED, "low_quality"),
    ],
)
def test_each_rule_gives_its_status_and_reason(scores, absent, status, reason):
    answer = "absent" if absent else "mask"
    assert decide(Scores(**GOOD | scores), answer, False, GateConfig(min_agreement=0.3)) == (status, reason)
    assert reason in REASONS


def test_a_mask_of_some_of_the_phrases_is_for_a_person_however_good_it_looks():
    assert decide(Scores(**GOOD), "mask", True, GateConfig()) == (Status.REVIEW, "incomplete")
    assert decide(Scores(**GOOD | {"quality": 0.1}), "mask", True, GateConfig()) == (Status.REJECTED, "low_quality")


def test_a_single_proposer_has_no_agreement_and_is_not_punished_for_it():
    scores = Scores(quality=0.95, area_ratio=0.1, understood=1.0)
    assert decide(scores, "mask", False, GateConfig())[0] == Status.ACCEPTED


def test_crossed_thresholds_are_refused_with_both_values():
    with pytest.raises(ConfigError, match=r"reject=0\.9, accept=0\.5"):
        GateConfig(accept=0.5, reject=0.9)


@pytest.mark.parametrize("verification", [MISSING, math.inf, -math.inf])
def test_a_quality_that_is_no_number_is_a_rejection_and_never_passes_the_rules(verification):
    sample = Sample("id", b"", "x.png", 4, 4, "the star", "test", kind="attribute", difficulty="hard")
    drafts = [
        Draft(
            sample, np.zeros((4, 4, 3), np.uint8), scores=Scores(**GOOD | {"verification": value, "agreement": MISSING})
        )
        for value in (verification, 0.9)
    ]
    refused, label = GateStage(Uncalibrated(), GateConfig(), Lineage("r", ())).run(drafts)
    assert isinstance(refused, Rejection) and (refused.stage, refused.reason) == ("gate", "no_quality")
    assert (refused.kind, refused.difficulty) == ("attribute", "hard")
    assert "verification" in refused.detail
    assert isinstance(label, Label) and label.status == Status.ACCEPTED


def test_a_whole_image_is_no_area_outlier_and_has_a_status_of_its_own():
    scores = Scores(**GOOD | {"area_ratio": 1.0})
    assert decide(scores, "whole image", False, GateConfig()) == (Status.WHOLE_IMAGE, "whole_image")
    unsure = Scores(**GOOD | {"area_ratio": 1.0, "quality": 0.6})
    assert decide(unsure, "whole image", False, GateConfig()) == (Status.REVIEW, "uncertain")
