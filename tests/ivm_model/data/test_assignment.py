import numpy as np
import pytest

from ivm_model.data.assignment import assign, position
from storage.records import Rle, image_sha
from storage.tables.reviews import Adjudication


def test_the_images_that_are_held_back_follow_from_their_hash_alone():
    sha_N = np.array([image_sha(str(i).encode()) for i in range(2000)], object)
    test_N, validation_N = position(sha_N, "test"), position(sha_N, "validation")
    for position_N in (test_N, validation_N):
        assert position_N.min() >= 0 and position_N.max() < 1 and position_N.mean() == pytest.approx(0.5, abs=0.02)
    assert (test_N == position(sha_N[::-1], "test")[::-1]).all()
    assert abs(np.corrcoef(test_N, validation_N)[0, 1]) < 0.06


def test_the_position_of_an_image_is_written_down():
    sha_N = np.array(["8" + "0" * 18 + "4" + "0" * 12], object)
    assert position(sha_N, "test").tolist() == [0.5] and position(sha_N, "validation").tolist() == [0.25]


@pytest.mark.parametrize(
    ("split", "scope", "verdict", "expected"),
    [
        ("machine", None, None, "machine"),
        ("machine", "mask", None, ""),
        ("human", "mask", None, "human"),
        ("human", "sample", None, ""),
        ("test", "sample", "wrong", "test"),
        ("machine", None, "right", "human"),
        ("", None, "corrected", "human"),
        ("", None, "wrong", ""),
        ("human", None, "wrong", "human"),
        ("human", None, "wrong_instruction", ""),
        ("machine", "mask", "right", "human"),
        ("machine", "sample", "right", ""),
    ],
)
def test_people_come_before_rules_about_masks_and_rules_about_samples_before_people(split, scope, verdict, expected):
    assert assign(split, scope, verdict and Adjudication(verdict, Rle(1, 1, b"1"))) == expected
