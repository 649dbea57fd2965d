import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ivm_data.experts.common.protocols import AnswerError
from ivm_data.experts.lmms.point_answers import MAX_POINTS, read_points


@pytest.mark.parametrize(
    ("answer", "points"),
    [
        ('<point x="61.5" y="40.2" alt="mug">mug</point>', [(0.615, 0.402)]),
        (' <points x1="10.0" y1="20.5" x2="30" y2="41.0" alt="mugs">mugs</points>', [(0.1, 0.205), (0.3, 0.41)]),
        ('<points coords="1 1 615 402 2 300 041">mugs</points>', [(0.615, 0.402), (0.3, 0.041)]),
        ('Counting the <points coords="1 1 073 160" alt="boats">the boats</points> shows 1.', [(0.073, 0.16)]),
        ('<points coords="1 1 615 402 2 300', [(0.615, 0.402)]),
        ('<point x="10" y="20"/> and <point x="30" y="40"/>', [(0.1, 0.2), (0.3, 0.4)]),
        ('<think>there are none?</think><point x="10" y="20">', [(0.1, 0.2)]),
        ('<points coords="1 1 100 200 2 100 200 3 1400 20">mugs</points>', [(0.1, 0.2)]),
        ("There are none.", []),
        ("There is no mug in the image.", []),
    ],
)
def test_points_are_read_as_shares_of_the_picture(answer, points):
    assert [tuple(point) for point in read_points(answer)] == [pytest.approx(point) for point in points]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ("", "holds no point"),
        ("The mug is on the left.", "holds no point"),
        ('<points coords="">none</points>', "holds no point"),
        ('<point x="10">mug</point>', "holds no point"),
        ('<points coords="1 1 2000 2000">mug</points>', "none of its 1 points lies in the image"),
        (f'<points coords="1 {" ".join(f"{i} {i} {i}" for i in range(MAX_POINTS + 1))}">mug</points>', "more than 100"),
    ],
)
def test_what_is_no_list_of_points_is_an_error_and_not_none(answer, message):
    with pytest.raises(AnswerError, match=message):
        read_points(answer)


@given(st.text(alphabet='<points coords="1 23>/xy=.-', max_size=60))
def test_any_text_is_read_or_refused(answer):
    with contextlib.suppress(AnswerError):
        assert all(0 <= point.x <= 1 and 0 <= point.y <= 1 for point in read_points(answer))
