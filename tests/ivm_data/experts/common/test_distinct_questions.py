"""Equal questions about the same array are asked once, and every one has its answer."""

import numpy as np

from ivm_data.experts.common.distinct_questions import p_yes_once


class Counted:
    """Answers with the image's first value and the length of the question; keeps what it was asked."""

    name = "counted"

    def __init__(self):
        self.asked = []

    def load(self):
        pass

    def p_yes(self, images, questions):
        self.asked += [(int(image[0, 0, 0]), question) for image, question in zip(images, questions, strict=True)]
        return np.array(
            [image[0, 0, 0] / 10 + len(question) / 100 for image, question in zip(images, questions, strict=True)]
        )


def test_equal_questions_about_one_array_are_asked_once_and_all_have_their_answer():
    one, two, copy = (np.full((2, 2, 3), value, np.uint8) for value in (1, 2, 1))
    verifier = Counted()
    p_yes_N = p_yes_once(verifier, [one, two, one, copy, one], ["a", "a", "bb", "a", "a"])
    assert verifier.asked == [(1, "a"), (2, "a"), (1, "bb"), (1, "a")]
    assert p_yes_N.dtype == np.float32
    np.testing.assert_allclose(p_yes_N, [0.11, 0.21, 0.12, 0.11, 0.11], rtol=1e-6)


def test_without_questions_nobody_is_asked():
    verifier = Counted()
    assert p_yes_once(verifier, [], []).shape == (0,) and verifier.asked == []
