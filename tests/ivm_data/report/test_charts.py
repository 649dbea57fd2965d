import numpy as np
import pytest

from ivm_data.report import charts


def test_precision_at_coverage_is_the_share_of_right_masks_among_the_first():
    coverage, precision = charts.precision_at_coverage(np.array([True, True, False, True]))
    assert coverage == [0.25, 0.5, 0.75, 1.0]
    assert precision == pytest.approx([1, 1, 2 / 3, 3 / 4])


def test_a_long_ranking_is_drawn_with_few_points_and_ends_at_full_coverage():
    right = np.random.default_rng(0).random(100_000) < 0.7
    coverage, precision = charts.precision_at_coverage(right)
    assert len(coverage) <= charts.MAX_POINTS
    assert (coverage[-1], precision[-1]) == (1.0, pytest.approx(right.mean()))


def test_an_empty_ranking_has_no_points():
    assert charts.precision_at_coverage(np.zeros(0, bool)) == ([], [])


def test_the_corners_of_the_unit_square_lie_on_the_frame():
    svg = charts.line_chart([charts.Series("a", [0, 1], [0, 1], "line")], [], ("x", "y"))
    bottom, right = charts.HEIGHT - charts.BOTTOM, charts.WIDTH - charts.RIGHT
    assert f'points="{charts.LEFT},{bottom} {right},{charts.TOP}"' in svg


def test_the_highest_bar_is_as_high_as_the_frame_and_words_are_escaped():
    svg = charts.histogram([0.1, 0.4], ("<x>", "y"), ["first & <b>", "second"])
    assert f'height="{charts.HEIGHT - charts.TOP - charts.BOTTOM:.1f}"' in svg
    assert "first &amp; &lt;b&gt;" in svg and "<x>" not in svg
