"""What many pairs cost with an LMM behind an endpoint."""

import pytest

from benchmarks.endpoint import Asked, measured, tables, worked_out
from storage.errors import ConfigError


def test_hours_and_price_follow_from_tokens_and_a_prefix_cache_saves_time_alone():
    page = tables({"verify": Asked(2, 3000, 600, cached=1800)}, [1_000_000], [1000.0], (0.5, 2.0))
    assert "| verify | 2.0 | 3,000.0 | 1,800.0 | 600.0 |" in page
    assert "| 1,000,000 | 1,000 | 1,000 | 500 | 0.6 | 2,700 |" in page


def test_questions_after_the_first_find_the_picture_in_the_cache():
    small, large = (worked_out(image)["verify"] for image in (100, 1100))
    assert large.prompt - small.prompt == 2 * 1000
    assert large.cached - small.cached == 1000


def test_a_data_set_without_an_endpoint_cannot_say(few):
    with pytest.raises(ConfigError, match="no endpoint was asked"):
        measured(few.data)
